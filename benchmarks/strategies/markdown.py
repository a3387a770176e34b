"""table.md: the figures of table.json as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.runtimes import SCALE
from benchmarks.strategies.claims import COMPARED, WORDS
from benchmarks.strategies.rows import Row
from benchmarks.strategies.score import LPIPS, PROTOCOL

DIGITS = {"psnr": 2, "ssim": 4, **dict.fromkeys(LPIPS, 4)}
# One more digit than in the scores for the difference in PSNR.
GAP_DIGITS = {**DIGITS, "psnr": 3}
NOTES = (
    "st-lpips-vgg looks through the same trunk (st-vgg) as the perceptual loss of the training does; "
    "st-lpips-alex is the independent measure. LPIPS: lower is nearer.",
    "An interval that includes 0, or a single seed, counts as not told apart. Intervals are 95 % paired t "
    "intervals over seeds, not corrected for how many there are.",
    "crops.png: the fine-tuned row is the one that is best in mean st-lpips-alex on the first set, by "
    "its first seed; the figures are those of whole images.",
)


def title(row: Mapping[str, Any]) -> str:
    return Row(row["row"], (), row["stage"]).title


def to_markdown(result: Mapping[str, Any]) -> str:
    parts = [
        f"Protocol {PROTOCOL}; mean and standard deviation over seeds. Multiply-accumulates are for one "
        f"1280x720 output. {describe_latency(result['latency'])}"
    ]
    for name, count in result["sets"].items():
        parts += [f"{name}, {count} images:", score_table(result["rows"], name)]
    if any("difference" in row for row in result["rows"]):
        parts.append("Differences to the own control at the same stage, with 95 % intervals:")
        parts.append(difference_table(result["rows"], list(result["sets"])))
    for claim in result["claims"]:
        cases = "".join(f"\n- {case}" for case in claim["cases"])
        parts.append(f"**{claim['claim']}: {claim['verdict']}.**{cases}")
    parts += NOTES
    if result["left_out"]:
        reasons = "; ".join(f"{name}, {reason}" for name, reason in result["left_out"].items())
        parts.append(f"Left out: {reasons}.")
    return "\n\n".join(parts) + "\n"


def describe_latency(latency: Mapping[str, Any]) -> str:
    if not latency:
        return "Latency was not measured."
    return (
        f"Latency is over that of {latency['base']}: x{SCALE} of {latency['size']} pixels, medians over "
        f"turns with quartiles, {latency['threads']} threads, {latency['runtime']}."
    )


def score_table(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    heads = ["", *(WORDS.get(measure, measure) for measure in DIGITS), "parameters", "MACs", "latency"]
    lines = []
    for row in rows:
        found = row["scores"][name]
        cells = [with_width(f"{found[m]['mean']:.{n}f}", found[m]["std"], n) for m, n in DIGITS.items()]
        lines.append([title(row), *cells, *cost_cells(row)])
    return render(heads, lines)


def cost_cells(row: Mapping[str, Any]) -> list[str]:
    latency = ""
    if row["latency"]:
        low, high = row["latency"]["quartiles"]
        latency = f"{row['latency']['median']:.2g} ({low:.2g} to {high:.2g})"
    if not row["parameters"]:
        return ["", "", latency]
    macs = f"{row['macs'] / 1e9:.1f} G" if row["macs"] else ""
    return [f"{row['parameters'] / 1000:,.0f} k", macs, latency]


def difference_table(rows: Sequence[Mapping[str, Any]], sets: Sequence[str]) -> str:
    columns = [(name, measure, GAP_DIGITS[measure]) for name in sets for measure in COMPARED]
    heads = ["", "control", *(f"{name} {WORDS.get(measure, measure)}" for name, measure, _ in columns)]
    lines = []
    for row in rows:
        if "difference" in row:
            gaps = [(row["difference"][name][measure], digits) for name, measure, digits in columns]
            cells = [with_width(f"{gap['mean']:+.{n}f}", gap["half_width"], n) for gap, n in gaps]
            lines.append([title(row), row["control"], *cells])
    return render(heads, lines)


def with_width(mean: str, width: float | None, digits: int) -> str:
    return mean if width is None else f"{mean} ± {width:.{digits}f}"


def render(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|---" + "|---:" * (len(heads) - 1) + "|"
    return "\n".join([f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])
