"""`srkd taps`: the layers of a generator that feature distillation may use."""

from typing import Any

from rich.table import Table

from srkd.terminal import console


def list_taps(name: str, scale: int) -> list[dict[str, Any]]:
    from srkd.losses.base import Taps
    from srkd.models import GENERATORS, create_generator
    from srkd.weights.store import load_generator

    model = create_generator(name, scale) if name in GENERATORS else load_generator(name)
    found = Taps(model, list(getattr(model, "taps", ())))
    table = Table("tap", "relative depth", "channels", title=f"taps of {name}")
    rows = []
    for number, (tap, channels) in enumerate(zip(found.names, found.widths(), strict=True), 1):
        rows.append({"name": tap, "depth": number / len(found.names), "channels": channels})
        table.add_row(tap, f"{number / len(found.names):.3f}", str(channels))
    console.print(table)
    return rows
