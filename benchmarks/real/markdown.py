"""The results as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.real.score import LPIPS, MEASURES
from benchmarks.strategies.markdown import render
from srkd.metrics.intervals import WORSE

DIGITS = {"psnr": 2, "near psnr": 2, "flat-noise": 2, "lattice": 2, "niqe": 2, "tint": 2, "text": 3}
DECIBELS = ("psnr", "near psnr")


def to_markdown(result: Mapping[str, Any]) -> str:
    """table.md."""
    parts = [
        f"Middles of {len(result['photographs'])} held-out photographs; draws of each degradation: "
        f"{result['draws']}, with seed {result['seed']}. Scores are means over photographs: PSNR under "
        f"{result['protocol']}, LPIPS lower is nearer; `near` is nearness to the picture of "
        f"{result['teacher']}. A share is (LPIPS of bicubic - LPIPS) / (LPIPS of bicubic - LPIPS of "
        f"{result['teacher']}), with its 95 % interval over photographs; none where {result['teacher']} "
        "is not better than bicubic. Artefacts are in 8-bit levels, 0 is best. NIQE sees no reference: it "
        "rates sharpness that was never there as natural too."
    ]
    if result["speed"]:
        parts += [speed_line(result["speed"]), speed_table(result["speed"]["networks"], result["teacher"])]
    for kind, entries in result["kinds"].items():
        parts += [f"**{kind}**", kind_table(entries), worse_line(entries)]
    return "\n\n".join(part for part in parts if part) + "\n"


def speed_line(speed: Mapping[str, Any]) -> str:
    return (
        f"Seconds for {speed['size']} LR pixels by {speed['runtime']}; threads: {speed['threads']}; "
        f"medians of {speed['turns']} turns in one run, with quartiles."
    )


def speed_table(networks: Mapping[str, Any], teacher: str) -> str:
    lines = []
    for label, entry in networks.items():
        low, high = entry["times_faster"]["quartiles"]
        times = f"{show_times(entry['times_faster']['median'])} ({show_times(low)} to {show_times(high)})"
        parameters = f"{entry['parameters'] / 1000:,.0f} k" if entry["parameters"] else ""
        lines.append([label, parameters, f"{entry['seconds']:.3g}", times])
    return render(["", "parameters", "seconds", f"times faster than {teacher}"], lines)


def show_times(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def kind_table(entries: Sequence[Mapping[str, Any]]) -> str:
    """A line for each network; measures that nothing has are left out."""
    measures = [name for name in MEASURES if any(name in entry["scores"] for entry in entries)]
    shares = [name for name in LPIPS if any(entry["share"].get(name, {}).get("share") for entry in entries)]
    lines = []
    for entry in entries:
        cells = [show_share(entry["share"].get(name, {})) for name in shares]
        lines.append(
            [entry["network"], *cells, *(show(entry["scores"].get(name), name) for name in measures)]
        )
    return render(["", *(f"share, {name}" for name in shares), *map(title, measures)], lines)


def title(measure: str) -> str:
    return measure.replace("psnr", "PSNR")


def show(score: Mapping[str, Any] | None, measure: str) -> str:
    return "" if score is None else f"{score['mean']:.{DIGITS.get(measure, 4)}f}"


def show_share(share: Mapping[str, Any]) -> str:
    if share.get("share") is None:
        return ""
    if share["low"] is None or share["low"] == share["high"]:
        return f"{share['share']:.0%}"
    return f"{share['share']:.0%} ({share['low']:.0%} to {share['high']:.0%})"


def worse_line(entries: Sequence[Mapping[str, Any]]) -> str:
    """What is worse than bicubic, clear of 0 in a paired interval over pictures."""
    found = []
    for entry in entries[1:]:
        names = [title(name) for name, gap in entry["difference"].items() if gap["verdict"] == WORSE]
        names = [name for name in names if not name.startswith("near")]
        if names:
            found.append(f"{entry['network']} in {', '.join(names)}")
    return f"Worse than bicubic: {'; '.join(found)}." if found else ""
