"""`srkd backends`: the runtimes, and which are installed."""

from importlib.metadata import PackageNotFoundError, version

from rich.markup import escape
from rich.table import Table

from srkd.runtimes import RUNTIMES
from srkd.terminal import Progress, answer, reports


@reports
def list_backends(*, verbose: bool = True, progress: Progress | None = None) -> list[dict[str, str]]:
    """List the backends that can run a network.

    Args:
        verbose: print the table.
        progress: never called; every command takes it.

    Returns:
        For each `name`, `version` (empty where it is not installed) and `runs`: what it runs, and where.
    """
    rows = []
    table = Table("backend", "version", "runs")
    for name, runtime in RUNTIMES.items():
        try:
            found = version(runtime.package)
        except PackageNotFoundError:
            found = ""
        rows.append({"name": name, "version": found, "runs": runtime.runs})
        needed = f"srkd[{runtime.extra}]" if runtime.extra else "srkd"
        # Escaped: in brackets there would be markup.
        table.add_row(name, found or escape(f"not installed; pip install '{needed}'"), runtime.runs)
    answer(table)
    return rows
