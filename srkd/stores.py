"""Stores of files that fsspec opens, such as `s3://`, `gs://`, `https://` and `memory://`."""

import contextlib
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from srkd.errors import SrkdError, UsageError, first_line, name_missing_extra

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.I)
# Stores where a file appears whole, or not at all, by itself; elsewhere it is written beside and renamed.
_WHOLE = frozenset(["s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "memory"])
MAGIC = re.compile(r"[*?\[]")


def is_remote(place: Any) -> bool:
    """Whether a path is a URL."""
    return isinstance(place, str) and bool(_URL.match(place))


def clean(text: str) -> str:
    """A text without what may be secret in its URLs: names and passwords, and queries, which sign them."""
    text = re.sub(r"(?<=://)[^/@\s'\"]+@", "", text)
    return re.sub(r"(?<=://)([^?#\s'\"]+)[?#][^\s'\")]*", r"\1", text)


def open_store(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Raises:
        UsageError: a package is missing, or there is no such kind of store.
        SrkdError: it cannot be reached.
    """
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise name_missing_extra(error, clean(url)) from None
    try:
        return url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{clean(url)} cannot be opened: {explain(error)}") from None
    except Exception as error:
        raise SrkdError(f"cannot reach {clean(url)}: {explain(error)}") from None


def send(path: Path, url: str) -> None:
    """Puts a file into a store, whole or not at all.

    Raises:
        SrkdError: the store does not take it.
    """
    fs, place = open_store(url)
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    try:
        if protocols & _WHOLE:
            fs.put_file(str(path), place)
            return
        folder, _, name = place.rpartition("/")
        fs.makedirs(folder, exist_ok=True)
        beside = f"{folder}/.{name}.{os.urandom(4).hex()}.part"
        try:
            fs.put_file(str(path), beside)
            fs.mv(beside, place)
        except BaseException:
            with contextlib.suppress(Exception):
                fs.rm_file(beside)
            raise
    except Exception as error:  # each store has errors of its own
        raise SrkdError(f"cannot write {clean(url)}: {explain(error)}") from None


def list_store(url: str) -> dict[str, dict[str, Any]]:
    """The files of a folder in a store, by their paths inside it, or those that a glob matches; empty where
    there are none.

    Raises:
        UsageError, SrkdError: as `localised`.
    """
    fs, root = open_store(url)
    web = url.startswith("http")
    magic = bool(MAGIC.search(root)) and not web
    base = root[: MAGIC.search(root).start()].rpartition("/")[0] if magic else root.rstrip("/")  # pyright: ignore[reportOptionalMemberAccess]  # it has matched
    try:
        found = fs.glob(root, detail=True) if magic else fs.find(f"{base}/" if web else base, detail=True)
    except FileNotFoundError:
        return {}
    except Exception as error:
        raise SrkdError(f"cannot list {clean(url)}: {explain(error)}") from None
    files: dict[str, dict[str, Any]] = {}
    for name, facts in found.items():
        inside = name.removeprefix(base).lstrip("/")
        inside = unquote(inside) if web else inside
        # No name leads out of the folder, and a folder of an object store may be an object too.
        if facts.get("type") == "directory" or not inside or inside.endswith("/"):
            continue
        if ".." in PurePosixPath(inside).parts or "\0" in inside or "?" in inside:
            continue
        if facts.get("size") is None:
            with contextlib.suppress(Exception):
                facts = fs.info(name)
        files[inside] = facts
    return files


def explain(error: BaseException) -> str:
    """A store's error in a line, without credentials."""
    return clean(f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__)
