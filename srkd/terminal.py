"""The terminal that everything is reported on, and progress bars."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import rich.progress
from rich.console import Console

# Lines are left whole: a path that is cut in two cannot be copied.
console = Console(highlight=False, soft_wrap=True)


T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int) -> Iterable[T]:
    """The items, with a progress bar and an estimate on a terminal."""
    shown = console.is_terminal and total > 1
    return rich.progress.track(
        items, description, total=total, console=console, transient=True, disable=not shown
    )


@contextlib.contextmanager
def progress(description: str, total: float) -> Iterator[Callable[[float], None]]:
    """Yields a function that advances a progress bar with an estimate, shown on a terminal."""
    columns = [*rich.progress.Progress.get_default_columns(), rich.progress.TimeElapsedColumn()]
    bar = rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda amount: bar.advance(task, amount)
