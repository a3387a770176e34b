"""`srkd models`: the generators there are."""

from typing import Any

from rich.table import Table

from srkd.terminal import console


def list_models(scale: int = 4, taps: str | None = None) -> list[dict[str, Any]]:
    """List the generators with their size and cost, or one's taps.

    Args:
        scale: the super-resolution factor, 2, 3 or 4.
        taps: a generator, by name or weights file, whose taps to list instead: the layers that feature
            distillation may look at.

    Returns:
        For each name: `parameters`, `macs` (multiply-accumulates for a 1280x720 output) and
        `receptive_field` (side, in LR pixels, of the input that one output pixel depends on). For each tap:
        `name`, `depth` (relative, in (0, 1]) and `channels`.

    Raises:
        UsageError: an impossible scale, or no such generator.
    """
    if taps is not None:
        from srkd.commands.taps import list_taps

        return list_taps(taps, scale)
    from srkd.models import GENERATORS, create_generator
    from srkd.models.cost import count_macs, count_parameters

    rows = []
    table = Table(title=f"generators at x{scale}")
    for column in ("name", "parameters", "MACs, 1280x720 output", "receptive field"):
        table.add_column(column, justify="left" if column == "name" else "right")
    for name, (_, options) in GENERATORS.items():
        if not options:
            continue
        model = create_generator(name, scale)
        side = 2 * model.radius + 1  # type: ignore[operator]
        row = {
            "name": name,
            "parameters": count_parameters(model),
            "macs": count_macs(model, scale),
            "receptive_field": side,
        }
        rows.append(row)
        table.add_row(name, f"{row['parameters']:,}", f"{row['macs'] / 1e9:.1f} G", f"{side}x{side}")
    console.print(table)
    return rows
