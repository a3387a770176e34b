"""`srkd backends`: the runtimes, and which are installed."""

from importlib.metadata import PackageNotFoundError, version

from rich.table import Table

from srkd.runtimes import RUNTIMES
from srkd.terminal import console


def list_backends() -> list[dict[str, str]]:
    """Prints and returns the backends: `name`, `version` (empty where it is not installed), `runs`."""
    rows = []
    table = Table("backend", "version", "runs")
    for name, runtime in RUNTIMES.items():
        try:
            found = version(runtime.package)
        except PackageNotFoundError:
            found = ""
        rows.append({"name": name, "version": found, "runs": runtime.runs})
        table.add_row(name, found or f"not installed; pip install 'srkd[{name}]'", runtime.runs)
    console.print(table)
    return rows
