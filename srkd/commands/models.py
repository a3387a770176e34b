"""`srkd models`: the shipped weights and the generators, and what any weights file costs."""

import importlib.util
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from srkd.files import StrPath, check_path
from srkd.terminal import Progress, note, reports, show
from srkd.weights.catalogue import find_weights, list_shipped, shipped_folder


@reports
def list_models(
    weights: Sequence[StrPath] | StrPath = (),
    scale: int = 4,
    *,
    threads: int | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """List the shipped weights and the generators, or measure what weights cost.

    Args:
        weights: weights files of any kind (srkd's, what spandrel loads, ONNX, ncnn) or shipped names, to be
            measured. Without them all generators and shipped weights are listed.
        scale: the super-resolution factor of the generators listed, 2, 3 or 4.
        threads: CPU threads to measure with; all cores when not given.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        Of given weights, each with `name`, `scale`, `parameters`, `macs` (multiply-accumulates for a 1280x720
        output; None where not known), `seconds` (measured, for such an output) and `runtime`. Otherwise first
        the generators, each with `name`, `parameters`, `macs` and `receptive_field` (side of the square of LR
        pixels that one output pixel depends on); then the shipped weights, each with `name`, `use`,
        `parameters`, and `psnr` (dB) and `lpips` on Set5.

    Raises:
        UsageError: no such weights, or an impossible scale.
        SrkdError: a file is damaged.
    """
    files = [weights] if isinstance(weights, StrPath) else list(weights)
    if files:
        rows = [_measure(file, threads) for file in files]
        show(_table_of_costs(rows), asked=True)
        return rows
    shipped = [_describe_shipped(name, entry) for name, entry in list_shipped().items()]
    generators = []
    if importlib.util.find_spec("torch") is None:
        note("the generators that can be trained are listed where srkd[train] is installed")
    else:
        from srkd.models import GENERATORS

        generators = [_describe(name, scale) for name, (_, options) in GENERATORS.items() if options]
        show(_table_of_generators(generators, scale), asked=True)
    if shipped:
        show(_table_of_weights(shipped), asked=True)
    return generators + shipped


def _measure(weights: StrPath, threads: int | None) -> dict[str, Any]:
    from srkd.upscaling.opening import open_fastest
    from srkd.weights.cost import Cost, count_cost, measure_seconds

    check_path("weights", weights)
    path = find_weights(weights)
    runner = open_fastest(weights, threads=threads)
    cost = Cost() if importlib.util.find_spec("torch") is None else count_cost(path)
    return {
        "name": str(weights) if str(weights) in list_shipped() else path.name,
        "scale": runner.scale,
        **cost._asdict(),
        "seconds": measure_seconds(runner),
        "runtime": runner.runtime,
    }


def _describe(name: str, scale: int) -> dict[str, Any]:
    from srkd.models import create_generator
    from srkd.models.cost import count_macs, count_parameters

    model = create_generator(name, scale)
    return {
        "name": name,
        "parameters": count_parameters(model),
        "macs": count_macs(model, scale),
        "receptive_field": 2 * model.radius + 1,
    }


def _describe_shipped(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    from srkd.weights.cost import count_stored

    scores = entry.get("scores", {}).get("Set5", {})
    return {
        "name": name,
        "use": entry.get("use", ""),
        "parameters": count_stored(shipped_folder() / entry["file"]),
        "psnr": scores.get("psnr"),
        "lpips": scores.get("st-lpips-alex"),
    }


def _make_table(title: str, *columns: str, words: Sequence[str] = ("name",)) -> Table:
    """A table whose columns of numbers are on the right."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column in words else "right", no_wrap=column == "name")
    return table


def _show_macs(macs: float | None) -> str:
    return "?" if macs is None else f"{macs / 1e9:.1f} G"


def _table_of_costs(rows: list[dict[str, Any]]) -> Table:
    title = "what a 1280x720 output costs; the time is measured on a sixteenth of it"
    table = _make_table(
        title, "name", "scale", "parameters", "MACs", "time", "run by", words=("name", "run by")
    )
    for row in rows:
        count = "?" if row["parameters"] is None else f"{row['parameters']:,}"
        time = f"{row['seconds']:.3g} s"
        table.add_row(row["name"], f"x{row['scale']}", count, _show_macs(row["macs"]), time, row["runtime"])
    return table


def _table_of_generators(rows: list[dict[str, Any]], scale: int) -> Table:
    table = _make_table(
        f"generators at x{scale}", "name", "parameters", "MACs, 1280x720 output", "receptive field"
    )
    for row in rows:
        side = row["receptive_field"]
        table.add_row(row["name"], f"{row['parameters']:,}", _show_macs(row["macs"]), f"{side}x{side}")
    return table


def _table_of_weights(rows: list[dict[str, Any]]) -> Table:
    title = "shipped weights, with scores on Set5 (y-crop; LPIPS by st-lpips-alex)"
    table = _make_table(title, "name", "use", "parameters", "PSNR, dB", "LPIPS", words=("name", "use"))
    for row in rows:
        scores = (
            "" if value is None else f"{value:.{digits}f}"
            for value, digits in ((row["psnr"], 2), (row["lpips"], 4))
        )
        table.add_row(row["name"], row["use"], f"{row['parameters']:,}", *scores)
    return table
