"""Files that appear whole or not at all, and their hashes."""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from srkd.errors import SrkdError, UsageError

# A path as public functions take it.
StrPath = str | Path


def check_path(name: str, value: Any) -> None:
    """Raises UsageError unless the value of an argument is a path."""
    if not isinstance(value, str | Path):
        raise UsageError(f"{name} must be a path, not {describe_type(value)}")
    if not str(value) or "\0" in str(value):
        raise UsageError(f"{name} must be a path, not {str(value)!r}")


def describe_type(value: Any) -> str:
    """A value's type for messages: `a numpy ndarray`, `a list`."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    name = kind.__name__ if package == "builtins" else f"{package} {kind.__name__}"
    return f"an {name}" if name[0].lower() in "aeio" else f"a {name}"


def describe_value(value: Any) -> str:
    """A value for messages: itself where it is a text or a number, else its type."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:60]}...")
    return repr(value) if isinstance(value, int | float | None) else describe_type(value)


def is_file(path: StrPath) -> bool:
    """Whether there is a file; False, where Path.is_file raises, for names that are too long and folders that
    may not be entered."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def is_folder(path: StrPath) -> bool:
    """Whether there is a folder; False as for `is_file`."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


# What to do where a file cannot be written, by what the system says; EFBIG is a limit on a file's size.
_REMEDIES = {
    ("ENOSPC", "EDQUOT", "EFBIG"): "{reason}; free some space or choose another place",
    ("EACCES", "EPERM", "EROFS"): "{reason}; choose a place where you may write",
    ("ENAMETOOLONG",): "its name is too long; choose a shorter one",
    ("EISDIR",): "there is a folder of that name; choose another name",
    ("ENOTDIR", "EEXIST"): "{file} is a file, not a folder; choose another place",
}
# What most file systems allow for a name: bytes, on Windows characters. Encrypting ones allow less, and say
# so.
_LONGEST_NAME = 255


@contextlib.contextmanager
def replacing(path: StrPath) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it over `path` on success, removes it otherwise.

    The file is flushed to disk before the rename, so a crash leaves the old file or the new one.

    Raises:
        SrkdError: the file cannot be written; the message says why and what to do.
    """
    path = Path(path)
    # The suffix stays last: writers such as Pillow choose the format by it.
    temporary = None
    try:
        _make_folder(path)
        temporary = path.with_name(_hidden_name(path, f".part{path.suffix}"))
        yield temporary
        _flush(temporary)
        _replace(temporary, path)
    except OSError as error:
        raise explain_write_error(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def check_writable(path: StrPath) -> None:
    """Makes a file's folder, and raises now what would otherwise be raised when the work is done.

    Raises:
        SrkdError: the file cannot be written; the message says why and what to do.
    """
    path = Path(path)
    try:
        _make_folder(path)
        temporary = path.with_name(_hidden_name(path, f".part{path.suffix}"))
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise explain_write_error(path, error) from error


@contextlib.contextmanager
def publish(path: StrPath, beside: Sequence[str] = (), folder: bool = False) -> Iterator[Path]:
    """Yields a path of the same name in a temporary folder. What is written there, and the files next to it
    with the suffixes `beside`, are moved to `path`'s folder together on success, and removed otherwise.
    With `folder`, a folder is written, which may take the place of another.

    Raises:
        SrkdError: the files cannot be written; the message says why and what to do.
    """
    path = Path(path)
    room = None
    try:
        _make_folder(path, or_folder=folder)
        room = path.with_name(_hidden_name(path, ".part"))
        room.mkdir()
        draft = room / path.name
        yield draft
        # The file itself last: where it is, what belongs to it is there.
        for suffix in (*beside, path.suffix):
            written = draft.with_suffix(suffix)
            for file in written.rglob("*") if written.is_dir() else [written]:
                if file.is_file():
                    _flush(file)
            if written.is_dir() and path.is_dir():
                # Folders are not renamed over others.
                _replace(path, room / "former")
            _replace(written, path.with_suffix(suffix))
    except OSError as error:
        raise explain_write_error(path, error) from error
    finally:
        if room is not None:
            shutil.rmtree(room, ignore_errors=True)


def _hidden_name(path: Path, ending: str) -> str:
    """A name beside a path that no other process or thread uses, cut to what the file system allows."""
    stem, ending, longest = path.stem, f".{secrets.token_hex(4)}{ending}", _longest_name(path.parent)
    while stem and _length(f".{stem}{ending}") > longest:
        stem = stem[:-1]
    return f".{stem}{ending}"


def _longest_name(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows, and file systems that do not say
        return _LONGEST_NAME


def _length(name: str) -> int:
    return len(name) if os.name == "nt" else len(os.fsencode(name))


def _make_folder(path: Path, or_folder: bool = False) -> None:
    """Makes a file's folder, and raises now what would otherwise be raised when the work is done; also where
    the file's name is that of a folder, unless it may be one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if _length(path.name) > _longest_name(path.parent):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    if path.is_dir() and not or_folder:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def _flush(path: Path) -> None:
    # Opened for writing, which Windows asks for.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _replace(source: Path, target: Path) -> None:
    """Renames a file over another. Windows refuses that while someone reads the other, for a moment."""
    for pause in (0.05, 0.2, 1.0) if os.name == "nt" else ():
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(pause)
    source.replace(target)


def explain_write_error(path: Path, error: OSError) -> SrkdError:
    """The line that says why a file cannot be written, and what to do."""
    reason, code = error.strerror or str(error), errno.errorcode.get(error.errno or 0, "")
    # A remedy that names a file holds only where there is one.
    file = next((parent for parent in path.parents if parent.is_file()), None)
    remedies = [text for codes, text in _REMEDIES.items() if code in codes and (file or "{file}" not in text)]
    text = remedies[0] if remedies else "{reason}"
    return SrkdError(f"cannot write {path}: {text.format(reason=reason, file=file)}")


def write_text(path: StrPath, text: str) -> None:
    """Writes a UTF-8 text file atomically; names of files that are no UTF-8, as they are."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


def hash_file(path: Path, digits: int = 64) -> str:
    """SHA-256 of a file's bytes, its first hex digits; of ncnn's `.param`, with the weights beside it.
    Sixteen digits name weights without their path."""
    found = hashlib.sha256()
    beside = path.with_suffix(".bin")
    for part in (path, beside) if path.suffix == ".param" and beside.is_file() else (path,):
        with part.open("rb") as file:
            hashlib.file_digest(file, lambda: found)
    return found.hexdigest()[:digits]


def name_by_hash(path: Path) -> str:
    """A file's name without its path: its stem and the hash of its bytes."""
    return f"{path.stem}@{hash_file(path, 16)}"
