"""Files inside tar archives, such as WebDataset's shards, read one by one where they lie."""

import tarfile
import threading
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from srkd.errors import SrkdError, UsageError, first_line
from srkd.stores import clean, explain, is_remote, open_store

SUFFIX = ".tar"


class _Archive(NamedTuple):
    file: tarfile.TarFile
    members: dict[str, tarfile.TarInfo]
    lock: Any  # one reader at a time: there is one place in the file


def list_archive(place: str) -> dict[str, dict[str, Any]]:
    """The files of an archive by their paths inside it, with size and time of change.

    Args:
        place: its path or URL.

    Raises:
        UsageError: there is none.
        SrkdError: it is damaged, or cannot be read.
    """
    members = _open(place).members
    return {name: {"size": info.size, "mtime": info.mtime} for name, info in members.items()}


def read_member(place: str, name: str) -> bytes:
    """A file of an archive. Raises as `list_archive`."""
    archive = _open(place)
    try:
        with archive.lock:
            file = archive.file.extractfile(archive.members[name])
            return file.read() if file is not None else b""
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SrkdError(f"{clean(place)} is damaged: {first_line(error)}") from error


def close_archives() -> None:
    """Forgets what is open: a file of the same name may hold something else by the next time."""
    _open.cache_clear()


# As many as are open at once; a process reads one after another.
@lru_cache(maxsize=8)
def _open(place: str) -> _Archive:
    try:
        fs, root = open_store(place) if is_remote(place) else (None, place)
        file = tarfile.open(root, fileobj=fs and fs.open(root, "rb"))  # noqa: SIM115  # it stays open
        infos = [info for info in file.getmembers() if info.isfile()]
    except FileNotFoundError:
        raise UsageError(f"there is no {clean(place)}") from None
    except (tarfile.TarError, EOFError) as error:
        said = first_line(error).rstrip(":")
        raise SrkdError(f"{clean(place)} is no tar archive, or is damaged: {said}") from error
    except OSError as error:
        raise SrkdError(f"cannot read {clean(place)}: {explain(error)}") from error
    members = {str(PurePosixPath(info.name)).lstrip("/"): info for info in infos}
    # No name leads out of the archive.
    inside = {k: v for k, v in members.items() if ".." not in PurePosixPath(k).parts and "\0" not in k}
    return _Archive(file, inside, threading.Lock())
