"""Files that appear whole or not at all, and the terminal everything is reported on."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import rich.progress
from rich.console import Console

from srkd.errors import SrkdError

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
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it over `path` on success, removes it otherwise.

    The file is flushed to disk before the rename, so a crash leaves the old file or the new one.

    Raises:
        SrkdError: the file cannot be written (disk full, no permission, a folder in its place).
    """
    path = Path(path)
    # The suffix stays last: writers such as Pillow choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SrkdError(f"cannot write {path}: {reason}; free some space or choose another place") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
