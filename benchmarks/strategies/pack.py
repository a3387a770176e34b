"""Packs the weights of a finished `srkd compare` for the repository."""

from pathlib import Path
from typing import Any

import srkd
from benchmarks.halving import save_half
from benchmarks.strategies.rows import read_runs
from srkd.errors import UsageError
from srkd.files import write_text
from srkd.terminal import console


def pack(source: Path, target: Path) -> None:
    """Copies the final weights of each stage in half precision, and compare.json."""
    rows = read_runs(source)
    if source.resolve() == target.resolve():
        raise UsageError(f"--pack {source} and --runs are the same folder; give another --runs")
    size = 0
    paths = [Path(path) for row in rows for path in row.weights]
    for path in paths:
        module: Any = srkd.load_generator(path)
        size += save_half(module, module.info, target / path.relative_to(source)).stat().st_size
    write_text(target / "compare.json", (source / "compare.json").read_text(encoding="utf-8"))
    console.print(f"{len(paths)} weights files, {size / 2**20:.1f} MiB -> {target}", markup=False)
