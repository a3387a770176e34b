"""What a student may cost, as it is written: `30ms@320x180`, `200kparams`, `2MB`. Imports no torch."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from srkd.errors import UsageError

Kind = Literal["time", "parameters", "bytes", "macs"]
# The output that multiply-accumulates are counted for where no size is given, as tables have it.
_OUTPUT = (1280, 720)
_FORMS = "30ms@320x180 or 60fps@320x180 (LR size), 200kparams, 2MB, 10GMACs@1280x720 (output size)"
_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_BYTES = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
# Sizes that an image can have, in pixels.
_SMALLEST, _LARGEST = 16, 8192


@dataclass(frozen=True)
class Budget:
    """A limit on one cost.

    Args:
        text: as it was given.
        kind: of what: seconds for an image, parameters, bytes of the exported file, or multiply-accumulates
            of an output image.
        limit: the most that is within it.
        size: width and height of the LR image for `time`, of the output for `macs`; None for the others.
    """

    text: str
    kind: Kind
    limit: float
    size: tuple[int, int] | None = None

    @property
    def key(self) -> str:
        """What it limits, with the size: two budgets of one key are one cost with two limits."""
        return self.kind if self.size is None else f"{self.kind}@{self.size[0]}x{self.size[1]}"

    def describe(self, value: float) -> str:
        """A value of its cost in its own unit: `31.2 ms`."""
        return describe_cost(self.kind, value)

    def excess(self, value: float) -> float:
        """By how much of the limit a value is over it; 0 or less within it."""
        return value / self.limit - 1


def parse_budgets(texts: Sequence[str] | str) -> list[Budget]:
    """Budgets from texts, each one or several with commas between.

    Raises:
        UsageError: a text that is no budget; the forms are named.
    """
    words = [
        word.strip() for text in ([texts] if isinstance(texts, str) else texts) for word in text.split(",")
    ]
    found = [_parse(word) for word in words if word]
    if not found:
        raise UsageError(f"give a budget, as {_FORMS}")
    return list(dict.fromkeys(found))


def _parse(text: str) -> Budget:
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-zA-Z]+)(?:@(\d+)[x×](\d+))?", text)  # noqa: RUF001  # as people write sizes
    if match is None:
        raise UsageError(f"budget '{text}' is not one of {_FORMS}")
    number, unit = float(match[1]), match[2].lower()
    size = (int(match[3]), int(match[4])) if match[3] else None
    if not number > 0:
        raise UsageError(f"budget '{text}' is not more than 0")
    if size is not None and not all(_SMALLEST <= side <= _LARGEST for side in size):
        raise UsageError(f"budget '{text}': sides are from {_SMALLEST} to {_LARGEST} pixels")
    if unit in _SECONDS or unit == "fps":
        if size is None:
            raise UsageError(f"budget '{text}' needs the size of the LR image, as {text}@320x180")
        return Budget(text, "time", 1 / number if unit == "fps" else number * _SECONDS[unit], size)
    macs = re.fullmatch(r"([kmgt]?)macs?", unit)
    if macs:
        return Budget(text, "macs", number * _PREFIXES[macs[1]], size or _OUTPUT)
    if size is not None:
        raise UsageError(f"budget '{text}': only times and multiply-accumulates have a size")
    if unit in _BYTES:
        return Budget(text, "bytes", number * _BYTES[unit])
    parameters = re.fullmatch(r"([kmg]?)param(?:eter)?s?", unit)
    if parameters:
        return Budget(text, "parameters", number * _PREFIXES[parameters[1]])
    raise UsageError(f"budget '{text}': unknown unit '{match[2]}'; a budget is one of {_FORMS}")


def describe_cost(kind: str, value: float) -> str:
    """A cost in a unit that suits it."""
    if kind == "time":
        return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"
    if kind == "bytes":
        return f"{value / 1e6:.2f} MB" if value >= 1e6 else f"{value / 1e3:.0f} kB"
    if kind == "macs":
        return f"{value / 1e9:.3g} GMACs"
    return f"{value:,.0f}"


def worst(budgets: Sequence[Budget], costs: Mapping[str, float]) -> tuple[Budget, float]:
    """The budget that costs are furthest over, or nearest to, and by how much of it; costs by the budgets'
    keys."""
    return max(((b, b.excess(costs[b.key])) for b in budgets), key=lambda pair: pair[1])


def compare(budgets: Sequence[Budget], costs: Mapping[str, float]) -> list[dict[str, Any]]:
    """What was asked and what was reached, a mapping for each budget."""
    return [
        {
            "budget": budget.text,
            "limit": budget.limit,
            "reached": costs[budget.key],
            "kept": costs[budget.key] <= budget.limit,
            "said": budget.describe(costs[budget.key]),
        }
        for budget in budgets
    ]
