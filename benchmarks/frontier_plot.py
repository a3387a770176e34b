"""The plot of the frontier: LPIPS and PSNR over frames per second."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from srkd.files import replacing

# Colour and filling of the points of each part of the figures.
STYLES = {
    "ours": ("tab:blue", "tab:blue"),
    "scored": ("tab:green", "tab:green"),
    "theirs": ("tab:red", "white"),
}


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Writes the plot of what `frontier.py` measured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(9, 11), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2)
    panels = [
        (upper, "share", "LPIPS over bicubic's own, each in its own protocol (lower is nearer)"),
        (lower, "psnr", "PSNR of luma, dB (higher is nearer)"),
    ]
    places = [plot(axes, result, key) for axes, key, _ in panels]
    for axes, key, label in panels:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.margins(0.12)
        axes.grid(alpha=0.3)
        axes.set_ylabel(label)
        if key == "share":
            axes.set_ylim(bottom=0)
    lower.set_xlabel(
        f"frames a second at {result['size']} LR pixels, x{result['scale']}, log scale (right is faster)"
    )
    figure.suptitle(describe(result), fontsize=8, x=0.01, ha="left")
    figure.canvas.draw()
    for (axes, _, _), spots in zip(panels, places, strict=True):
        place_labels(axes, spots)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def plot(axes: Any, result: Mapping[str, Any], key: str) -> list["Place"]:
    """Draws the networks that have this score."""
    places = []
    for side, (color, fill) in STYLES.items():
        for name, point in result[side]["points"].items():
            if key not in point:
                continue
            middle, (low, high) = point["fps"]["median"], point["fps"]["quartiles"]
            bars = [[middle - low], [high - middle]]
            axes.errorbar(middle, point[key], xerr=bars, fmt="o", capsize=2, color=color, mfc=fill)
            places.append(Place(name, (low, middle, high), point[key], color))
    return places


def describe(result: Mapping[str, Any]) -> str:
    """The caption."""
    ours, theirs = result["ours"], result["theirs"]
    return (
        f"Filled: shipped weights, {ours['lpips']} on {result['set']} over bicubic's "
        f"{ours['points']['bicubic']['lpips']:.3f}, measured here. Green: others' published weights, scored "
        "in the same way.\nHollow: LPIPS on Set5 as published (arXiv 2209.03355) over their bicubic's "
        f"{theirs['bicubic']:.3f}, at the speed of their layout with random weights, measured here.\n"
        f"ONNX Runtime on a CPU, {result['threads']} threads, the network alone; bicubic by Pillow. "
        f"Medians of {result['turns']} turns, bars are quartiles. Shares of two protocols compare roughly."
    )


class Place(NamedTuple):
    """A point of the plot: name, quartiles with the median between them on the x axis, y and color."""

    name: str
    across: tuple[float, float, float]
    height: float
    color: str


def place_labels(axes: Any, places: Sequence[Place]) -> None:
    """Writes each name beside its point where it overlaps no other name or point."""
    from matplotlib.transforms import Bbox

    taken = []
    for place in places:
        (left, y), (right, _) = axes.transData.transform([(x, place.height) for x in place.across[::2]])
        taken.append(Bbox.from_extents(left - 6, y - 6, right + 6, y + 6))
    frame = axes.get_window_extent()
    # Right, left or at the middle of the bar, then further and further above and below.
    sides = ((2, 9, "left"), (0, -9, "right"), (1, 0, "center"))
    spots = [
        (end, right, up, side)
        for up in (0, 9, -9, 18, -18, 30, -30, 42, -42, 54, -54)
        for end, right, side in sides
    ]
    style = {"textcoords": "offset points", "va": "center", "fontsize": 9}
    for place in places:
        for spot in spots:
            end, right, up, side = spot
            at = (place.across[end], place.height)
            label = axes.annotate(place.name, at, (right, up), ha=side, color=place.color, **style)
            box = label.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if (inside and not any(box.overlaps(other) for other in taken)) or spot == spots[-1]:
                taken.append(box)
                break
            label.remove()
