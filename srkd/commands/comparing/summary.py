"""What follows from the results of all runs: differences from the controls, by scores and by curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from srkd.metrics.bjontegaard import bd_difference
from srkd.metrics.intervals import paired_interval
from srkd.reports.comparison import conclude

_SCORES = ("psnr", "ssim", "lpips")
_COSTS = ("seconds", "memory")

Result = Mapping[str, Any]


def summarise(
    controls: Mapping[str, str | None], results: Mapping[str, Sequence[Result]], lpips: str
) -> dict[str, Any]:
    """The table of a comparison.

    Args:
        controls: the label of each method's control, None for controls; in the order of the rows.
        results: of each label, the runs' results by seed: `psnr`, and where they are known `ssim`, `lpips`,
            `seconds`, `memory`, `test` (the same scores by benchmark set) and `curve` (points of `alpha`,
            `psnr`, `lpips`).
        lpips: the LPIPS variant.
    """
    first = next(iter(results.values()))[0]
    scores = [key for key in _SCORES if first.get(key) is not None]
    rows = []
    for label, control in controls.items():
        runs, others = results[label], results[control] if control is not None else None
        row: dict[str, Any] = {"method": label, "control": control}
        row |= {key: [run[key] for run in runs] for key in (*scores, *_COSTS) if key in runs[0]}
        row |= _differences(runs, others, scores)
        tests = {
            name: _of_set(
                [run["test"][name] for run in runs], others and [run["test"][name] for run in others], scores
            )
            for name in runs[0].get("test") or {}
        }
        row |= {"test": tests} if tests else {}
        if runs[0].get("curve"):
            row["curves"] = [run["curve"] for run in runs]
            row |= {"bd": _bd(runs, others)} if others else {}
        if others:
            row["conclusion"] = conclude(row, lpips)
        rows.append(row)
    seeds = len(next(iter(results.values())))
    return {"protocol": "y-crop", "lpips": lpips, "seeds": seeds, "rows": rows}


def _of_set(runs: Sequence[Result], others: Sequence[Result] | None, scores: Sequence[str]) -> dict[str, Any]:
    return {**{key: [run[key] for run in runs] for key in scores}, **_differences(runs, others, scores)}


def _differences(
    runs: Sequence[Result], others: Sequence[Result] | None, scores: Sequence[str]
) -> dict[str, Any]:
    if others is None:
        return {}
    gaps = {key: paired_interval([r[key] for r in runs], [c[key] for c in others]) for key in scores}
    return {"difference": gaps}


def _bd(runs: Sequence[Result], others: Sequence[Result]) -> dict[str, Any]:
    """BD-LPIPS and BD-PSNR by seed, and their intervals over the seeds that have them."""
    found = [
        bd_difference(*([(point["psnr"], point["lpips"]) for point in run["curve"]] for run in pair))
        for pair in zip(runs, others, strict=True)
    ]
    result: dict[str, Any] = {}
    for key, why in (("lpips", "why_no_lpips"), ("psnr", "why_no_psnr")):
        by_seed = [getattr(one, key) for one in found]
        values = [value for value in by_seed if value is not None]
        interval = (
            paired_interval(values, [0.0] * len(values)) if values else {"mean": None, "half_width": None}
        )
        missing = [getattr(one, why) for one in found if getattr(one, why)]
        result[key] = {**interval, "seeds": by_seed, "none": missing}
    return result
