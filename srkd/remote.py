"""Files that are not local: what fsspec opens, such as `s3://`, `gs://`, `https://` and `memory://`.

A place that is not local is mirrored: a temporary folder gets a file of no content, but of the right name and
size, for each file there, so that all that looks for files by their names works as on any folder. A file's
content is there only while it is read (`available`), and a result only until it is delivered (`delivered`).
So are tar archives, where a function takes their images as a folder's.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from srkd.archives import SUFFIX, close_archives, list_archive, read_member
from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath
from srkd.stores import MAGIC, clean, explain, is_remote, list_store, open_store, send
from srkd.terminal import renaming


class Mirror(NamedTuple):
    """A local folder, and the place that it stands for.

    Args:
        folder: the local one.
        url: the place, as it was given; of a single file, that file's.
        single: whether it is a single file, which lies in the folder.
        archive: whether the place is a tar archive, of a path or URL.
    """

    folder: Path
    url: str
    single: bool = False
    archive: bool = False

    def locate(self, path: Path) -> str:
        """Where a path of the folder lies, as a URL."""
        if self.single:
            return self.url
        name = path.relative_to(self.folder).as_posix()
        return f"{self.url.rstrip('/')}/{quote(name) if self.url.startswith('http') else name}"

    def show(self, text: str) -> str:
        """A text with the place in the folder's stead, without credentials."""
        place = clean(self.url)
        shown = place.rpartition("/")[0] if self.single else place.rstrip("/")
        return text.replace(str(self.folder), shown).replace(self.url, place)


# Those of this process; workers of a cluster are sent them.
_mirrors: dict[Path, Mirror] = {}


def list_mirrors() -> list[Mirror]:
    """The mirrors of this process."""
    return list(_mirrors.values())


def adopt(mirrors: Sequence[Mirror]) -> None:
    """Makes the mirrors of another process this one's."""
    _mirrors.update({mirror.folder: mirror for mirror in mirrors})


@contextlib.contextmanager
def localised(
    inputs: Sequence[StrPath], out: StrPath | None = None, *, unpack: bool = False
) -> Iterator[tuple[list[StrPath], Any]]:
    """Yields inputs and an output with mirrors in the place of URLs. What is printed inside, and errors, name
    the URLs, without credentials.

    Args:
        inputs: files, folders, globs.
        out: a folder, or a file by its suffix.
        unpack: tar archives, or a glob of them, become a folder of their files.

    Raises:
        UsageError: a package is missing, nothing is there, or nothing can be written there.
        SrkdError: the store cannot be reached, or an archive is damaged.
    """
    packed = [place for place in inputs if unpack and str(place).endswith(SUFFIX)]
    if not packed and not any(map(is_remote, [*inputs, out])):
        yield list(inputs), out
        return
    with contextlib.ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="srkd-", ignore_cleanup_errors=True)
        top = Path(stack.enter_context(temporary))
        made: list[Mirror] = []
        stack.callback(lambda: [_mirrors.pop(mirror.folder, None) for mirror in made])
        stack.callback(close_archives)

        def show(text: str) -> str:
            for mirror in made:
                text = mirror.show(text)
            return clean(text)

        stack.enter_context(renaming(show))
        try:
            local: list[StrPath] = []
            for number, place in enumerate(inputs):
                if place in packed:
                    folder = top / str(number) / "shards"
                    made += _mirror_archives(str(place), folder)
                    local.append(folder)
                    continue
                if not is_remote(place):
                    local.append(place)
                    continue
                mirror, found = _mirror(str(place), top / str(number))
                made.append(mirror)
                local += found
            target = out
            if is_remote(out):
                mirror, target = _mirror_output(str(out), top / "out")
                _set_apart(made, mirror)
                made.append(mirror)
            adopt(made)
            yield local, target
        except SrkdError as error:
            raise type(error)(show(str(error))) from None


@contextlib.contextmanager
def available(*paths: Path | None) -> Iterator[None]:
    """Inside, files of mirrors have their content.

    Raises:
        SrkdError: one cannot be read from its store.
    """
    fetched: list[tuple[Path, os.stat_result | None]] = []
    try:
        for path in paths:
            mirror = None if path is None else find_mirror(path)
            if path is not None and mirror is not None:
                fetched.append((path, path.stat() if path.exists() else None))
                _fetch(mirror, path)
        yield
    finally:
        for path, facts in fetched:
            if facts is None:
                path.unlink(missing_ok=True)
            else:
                _make_hollow(path, facts.st_size, facts.st_mtime_ns)


@contextlib.contextmanager
def delivered(path: Path) -> Iterator[None]:
    """What is written to a path of a mirror inside is put where it belongs, whole or not at all.

    Raises:
        SrkdError: the store does not take it.
    """
    mirror = find_mirror(path)
    if mirror is not None:
        # Of another worker's machine, perhaps.
        path.parent.mkdir(parents=True, exist_ok=True)
    yield
    if mirror is not None:
        send(path, mirror.locate(path))
        _make_hollow(path, 0, 0)


def _mirror(url: str, folder: Path) -> tuple[Mirror, list[StrPath]]:
    """A mirror of an input, and what of it was asked for."""
    fs, root = open_store(url)
    magic = MAGIC.search(root) if not url.startswith("http") else None
    if not magic and _is_file(fs, root, url):
        name = unquote(PurePosixPath(root.partition("?")[0]).name)
        mirror = Mirror(folder, url, single=True)
        _hollow(folder, {name: fs.info(root)})
        return mirror, [folder / name]
    files = list_store(url)
    if not files:
        raise UsageError(f"{'nothing matches' if magic else 'there is nothing at'} {clean(url)}")
    base = url
    if magic:
        base = url[: MAGIC.search(url).start()].rpartition("/")[0]  # pyright: ignore[reportOptionalMemberAccess]  # its path has matched
    # The folder's name is the data set's.
    folder = folder / (PurePosixPath(clean(base).rstrip("/")).name or "store")
    _hollow(folder, files)
    mirror = Mirror(folder, base)
    return mirror, [folder / name for name in sorted(files)] if magic else [folder]


def _mirror_archives(place: str, folder: Path) -> list[Mirror]:
    """A mirror of each archive that a path, URL or glob names, in a folder."""
    if not MAGIC.search(place):
        names = {"": place}
    elif is_remote(place):
        base = place[: MAGIC.search(place).start()].rpartition("/")[0]  # pyright: ignore[reportOptionalMemberAccess]  # it has matched
        names = {name: f"{base}/{name}" for name in list_store(place)}
    else:
        base = Path(place[: MAGIC.search(place).start()] + "x").parent  # pyright: ignore[reportOptionalMemberAccess]  # as above
        found = base.glob(Path(place).relative_to(base).as_posix())
        # As in a shell, and as in a store: hidden is what is being written.
        names = {
            path.relative_to(base).as_posix(): str(path) for path in found if not path.name.startswith(".")
        }
    if not names:
        raise UsageError(f"nothing matches {clean(place)}")
    mirrors = []
    for name, archive in sorted(names.items()):
        mirror = Mirror(folder / name.removesuffix(SUFFIX), archive, archive=True)
        _hollow(mirror.folder, list_archive(archive))
        mirrors.append(mirror)
    # For messages about all of them.
    return mirrors if names.keys() == {""} else [*mirrors, Mirror(folder, place)]


def _mirror_output(url: str, folder: Path) -> tuple[Mirror, Path]:
    """A mirror of where results go, and the folder or file in it that stands for the output."""
    fs, root = open_store(url)
    if url.startswith("http"):
        raise UsageError(f"{clean(url)} can be read, not written; give another -o")
    name = PurePosixPath(root).name
    if PurePosixPath(name).suffix and not url.endswith("/"):
        parent = url[: -len(name)].rstrip("/")
        files = {name: fs.info(root)} if _is_file(fs, root, url) else {}
        _hollow(folder, files)
        return Mirror(folder, parent), folder / name
    _hollow(folder, list_store(url))
    return Mirror(folder, url), folder


def _set_apart(inputs: Sequence[Mirror], out: Mirror) -> None:
    """Takes what lies in the output out of the inputs.

    Raises:
        UsageError: the output is an input.
    """
    place = out.url.rstrip("/")
    for mirror in inputs:
        base = mirror.url.rstrip("/")
        if base == place and not mirror.single:
            where = clean(base)
            raise UsageError(f"{where} is where the images are; give another -o, such as {where}/upscaled")
        if place.startswith(f"{base}/"):
            shutil.rmtree(mirror.folder / place[len(base) + 1 :], ignore_errors=True)


def _is_file(fs: Any, root: str, url: str) -> bool:
    if url.endswith("/"):
        return False
    try:
        if not url.startswith("http"):
            return fs.isfile(root)
        # A web server answers for folders too, with a page of links.
        return "html" not in str(fs.info(root).get("mimetype")) or root.rpartition("/")[2].endswith(".html")
    except FileNotFoundError as error:
        # fsspec says the same of a server that cannot be reached.
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            raise SrkdError(f"cannot reach {clean(url)}: {explain(error.__cause__)}") from None
        raise UsageError(f"there is nothing at {clean(url)}") from None
    except Exception as error:
        raise SrkdError(f"cannot reach {clean(url)}: {explain(error)}") from None


def find_mirror(path: Path) -> Mirror | None:
    """The mirror that a path lies in."""
    return next((mirror for folder, mirror in _mirrors.items() if folder in path.parents), None)


def _fetch(mirror: Mirror, path: Path) -> None:
    if mirror.archive:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read_member(mirror.url, path.relative_to(mirror.folder).as_posix()))
        return
    url = mirror.locate(path)
    fs, place = open_store(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fs.get_file(place, str(path))
    except Exception as error:
        path.touch()
        raise SrkdError(f"{path} cannot be read: {explain(error)}") from None


def _hollow(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    """Files of the right names and sizes; their time of change stands for whatever the store says of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, facts in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        told = repr(sorted((k, str(v)) for k, v in facts.items() if k not in ("name", "url", "Key")))
        stamp = int.from_bytes(hashlib.sha256(told.encode()).digest()[:4], "big")
        path.touch()
        _make_hollow(path, int(facts.get("size") or 0), stamp * 10**9 // 4)


def _make_hollow(path: Path, size: int, stamp: int) -> None:
    os.truncate(path, 0)
    os.truncate(path, size)
    os.utime(path, ns=(stamp, stamp))


def download(url: str, folder: Path) -> None:
    """Copies all files of a store's folder into a local one."""
    mirror = Mirror(folder, url)
    for name in list_store(url):
        _fetch(mirror, folder / name)


@contextlib.contextmanager
def staged(url: str, folder: Path, last: str) -> Iterator[Path]:
    """Yields a local folder whose files are put into a store's folder at the end, the file `last` at last. It
    stays where anything fails, and is gone on success. It begins with what the store has.

    Raises:
        SrkdError: the store cannot be read or written.
    """
    if is_remote(url) and url.startswith("http"):
        raise UsageError(f"{clean(url)} can be read, not written; give another folder")
    before = list_store(url)
    if last in before and not folder.exists():
        download(url, folder)
    with renaming(lambda text: clean(text.replace(str(folder), clean(url).rstrip("/")))):
        yield folder
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    for name in sorted((name for name in names if not name.startswith(".")), key=lambda name: name == last):
        same = name in before and before[name].get("size") == (folder / name).stat().st_size
        if not same or not name.endswith((".u8", ".f16")):
            send(folder / name, f"{url.rstrip('/')}/{name}")
    shutil.rmtree(folder)
