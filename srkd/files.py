"""Files that appear whole or not at all, and their hashes."""

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from srkd.errors import SrkdError

# A path as public functions take it.
StrPath = str | Path


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
        _replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SrkdError(f"cannot write {path}: {reason}; free some space or choose another place") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _replace(source: Path, target: Path) -> None:
    """Renames a file over another. Windows refuses that while someone reads the other, for a moment."""
    for pause in (0.05, 0.2, 1.0) if os.name == "nt" else ():
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(pause)
    source.replace(target)


@contextlib.contextmanager
def publish(path: str | Path, beside: Sequence[str] = ()) -> Iterator[Path]:
    """Yields a path of the same name in a temporary folder; what is written there, and the files of the
    suffixes `beside` next to it, move to `path`'s folder together on success, and are gone otherwise.

    Raises:
        SrkdError: the files cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
            draft = Path(folder) / path.name
            yield draft
            # The file itself last: where it is, what belongs to it is there.
            for suffix in (*beside, path.suffix):
                written = draft.with_suffix(suffix)
                with written.open("rb+") as file:
                    os.fsync(file.fileno())
                _replace(written, path.with_suffix(suffix))
    except OSError as error:
        reason = error.strerror or str(error)
        raise SrkdError(f"cannot write {path}: {reason}; free some space or choose another place") from error


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def hash_file(path: Path, digits: int = 64) -> str:
    """SHA-256 of a file's bytes, its first hex digits. Sixteen name weights without their path."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:digits]


def name_by_hash(path: Path) -> str:
    """A file's name without its path: its stem and the hash of its bytes."""
    return f"{path.stem}@{hash_file(path, 16)}"
