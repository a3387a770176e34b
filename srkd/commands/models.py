"""`srkd models`: the generators there are, and the shipped weights."""

from typing import Any

from rich.table import Table

from srkd.terminal import Progress, answer, reports
from srkd.weights.catalogue import list_shipped


@reports
def list_models(
    scale: int = 4,
    *,
    verbose: bool = True,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """List the generators with their size and cost, and the weights that are shipped.

    Args:
        scale: the super-resolution factor of the generators, 2, 3 or 4.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        First the generators, each with `name`, `parameters`, `macs` (multiply-accumulates for a 1280x720
        output) and `receptive_field` (side of the square of LR pixels that one output pixel depends on). Then
        the shipped weights, each with `name`, `use`, `parameters`, and `psnr` (dB) and `lpips` on Set5.

    Raises:
        UsageError: an impossible scale.
    """
    from srkd.models import GENERATORS

    generators = [_describe(name, scale) for name, (_, options) in GENERATORS.items() if options]
    shipped = [_describe_shipped(name, entry) for name, entry in list_shipped().items()]
    answer(_table_of_generators(generators, scale))
    if shipped:
        answer(_table_of_weights(shipped))
    return generators + shipped


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
    from srkd.models.cost import count_parameters
    from srkd.weights.store import load_generator

    scores = entry.get("scores", {}).get("Set5", {})
    return {
        "name": name,
        "use": entry.get("use", ""),
        "parameters": count_parameters(load_generator(name)),
        "psnr": scores.get("psnr"),
        "lpips": scores.get("st-lpips-alex"),
    }


def _table_of_generators(rows: list[dict[str, Any]], scale: int) -> Table:
    table = Table(title=f"generators at x{scale}")
    for column in ("name", "parameters", "MACs, 1280x720 output", "receptive field"):
        table.add_column(column, justify="left" if column == "name" else "right")
    for row in rows:
        side = row["receptive_field"]
        table.add_row(row["name"], f"{row['parameters']:,}", f"{row['macs'] / 1e9:.1f} G", f"{side}x{side}")
    return table


def _table_of_weights(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="shipped weights, with scores on Set5 (y-crop; LPIPS by st-lpips-alex)")
    table.add_column("name", no_wrap=True)
    table.add_column("use")
    for column in ("parameters", "PSNR, dB", "LPIPS"):
        table.add_column(column, justify="right")
    for row in rows:
        scores = (
            "" if value is None else f"{value:.{digits}f}"
            for value, digits in ((row["psnr"], 2), (row["lpips"], 4))
        )
        table.add_row(row["name"], row["use"], f"{row['parameters']:,}", *scores)
    return table
