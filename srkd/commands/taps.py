"""`srkd taps`: the layers of a generator that feature distillation may read."""

from typing import Any

from rich.table import Table

from srkd.errors import UsageError
from srkd.files import StrPath
from srkd.terminal import Progress, answer, reports


@reports
def list_taps(
    model: StrPath,
    scale: int = 4,
    *,
    verbose: bool = True,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """List the layers that feature distillation can read.

    Args:
        model: a generator's name as `srkd models` lists it, a shipped name, or a weights file: of this
            package, or of the RRDBNet and SRVGG (Compact) families.
        scale: the super-resolution factor of a generator given by name, 2, 3 or 4.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        For each tap, in order: `name`, `depth` (relative, in (0, 1]) and `channels`.

    Raises:
        UsageError: no such generator, one of another package whose layers are not known, or an impossible
            scale.
    """
    from srkd.losses.base import Taps
    from srkd.models import GENERATORS, create_generator
    from srkd.weights.store import load_generator

    named = str(model) in GENERATORS
    network = create_generator(str(model), scale) if named else load_generator(model)
    if not network.taps:
        raise UsageError(f"{model} has no layers that are known to feature distillation")
    found = Taps(network, network.taps)
    table = Table("tap", "relative depth", "channels", title=f"taps of {model}")
    rows = []
    for number, (tap, channels) in enumerate(zip(found.names, found.widths(), strict=True), 1):
        rows.append({"name": tap, "depth": number / len(found.names), "channels": channels})
        table.add_row(tap, f"{number / len(found.names):.3f}", str(channels))
    answer(table)
    return rows
