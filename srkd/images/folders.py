"""Finds the images in folders, and says what it leaves out."""

import errno
import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, is_folder
from srkd.images.formats import READ_ONLY, SUFFIXES
from srkd.terminal import note

# What counts as an image in a folder: what is written, and what Pillow reads beside it. GIF, which is mostly
# animated, is not among them.
IMAGES = frozenset(
    {*SUFFIXES, *READ_ONLY, ".jfif", ".jpe", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"}
    | {".dib", ".pbm", ".pgm", ".ppm", ".pnm", ".tga"}
)
# Files and folders of file managers, NAS boxes, archivers and synchronisers, in lower case. They are passed
# over without a word.
SYSTEM = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
        *("@eadir", "@tmp", "@sharebin", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),
        *("$recycle.bin", "recycler", "system volume information", "lost+found", "__macosx"),
        *("network trash folder", "temporary items"),
        *(".ds_store", ".localized", ".directory", ".nomedia", ".hidden", ".picasa.ini", ".comments"),
        *(".thumbnails", ".stfolder", ".stversions", ".stignore", ".dropbox", ".dropbox.cache", ".sync"),
        *(".spotlight-v100", ".fseventsd", ".temporaryitems", ".documentrevisions-v100"),
        *(".appledouble", ".appledb", ".appledesktop", ".snapshot", ".snapshots", ".git", ".gitignore"),
    }
)
SYSTEM_STARTS = ("._", ".trash", ".srkd-", ".fuse_hidden", ".nfs", ".~")


@dataclass
class Found:
    """What a folder holds.

    Args:
        root: the folder.
        images: files whose suffix is that of an image, sorted by path.
        folders: all that were entered, the folder itself first.
        failures: images and folders that cannot be reached, a message each.
        left_out: how many of what were passed over, such as `.txt file{s}`.
    """

    root: Path
    images: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def leave_out(self, reason: str, images: set[Path]) -> None:
        """Takes images out, counted under a reason."""
        if images:
            self.images = [path for path in self.images if path not in images]
            self.left_out[reason] += len(images)

    def check(self, skip_bad: bool | None = None) -> None:
        """Says what was left out.

        Args:
            skip_bad: count what cannot be reached among it, with a line for each; None where there is no such
                choice.

        Raises:
            SrkdError: something cannot be reached.
            UsageError: there is no image.
        """
        if self.failures and not skip_bad:
            more = f" (and {len(self.failures) - 1} more like it)" if len(self.failures) > 1 else ""
            choice = "; fix it, or leave such images out with --skip-bad" if skip_bad is False else ""
            raise SrkdError(f"{self.failures[0]}{more}{choice}")
        for failure in self.failures:
            note(failure, "left out")
        if self.left_out:
            note(describe(self.left_out), "left out")
        if not self.images:
            raise UsageError(f"{self.root} holds no images ({', '.join(SUFFIXES)})")


def list_images(folder: StrPath) -> list[Path]:
    """The images in a folder and those inside it, sorted by path. Says what it leaves out.

    Raises:
        UsageError: the folder does not exist, is a file, or holds no image.
        SrkdError: something in it cannot be reached.
    """
    found = find_images(folder)
    found.check()
    return found.images


def find_images(folder: StrPath, apart: Path | None = None, suffixes: frozenset[str] = IMAGES) -> Found:
    """Looks through a folder and those inside it, linked ones too, each once.

    Args:
        folder: where to look.
        apart: a folder whose images are left out.
        suffixes: of what counts as an image, in lower case.

    Raises:
        UsageError: the folder does not exist, or is a file.
    """
    folder = Path(folder)
    reason = explain_missing(folder)
    if reason:
        raise UsageError(f"{folder} {reason}" if os.path.lexists(folder) else f"there is no folder {folder}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; give the folder that holds the images")
    found = Found(folder)
    walk = _Walk(found, {}, suffixes)
    if apart is not None and is_folder(apart) and not apart.samefile(folder):
        walk.seen[_identify(apart)] = apart
    walk.enter(folder)
    # Links last: what is reached without one is found under its own name.
    while walk.links:
        walk.enter(walk.links.pop(0))
    if apart is not None and apart in walk.met:
        inside = len(find_images(apart, suffixes=suffixes).images)
        found.left_out.update({f"image{{s}} in the output folder {apart}": inside} if inside else {})
    found.images.sort()
    return found


class _Walk:
    """A walk through folders.

    Args:
        found: what it adds to.
        seen: folders not to enter, by device and inode.
        suffixes: of what counts as an image.
    """

    def __init__(self, found: Found, seen: dict[tuple[int, int], Path], suffixes: frozenset[str]):
        self.found, self.seen, self.suffixes = found, seen, suffixes
        self.links: list[Path] = []
        self.met: set[Path] = set()  # those not entered because they had been seen

    def enter(self, folder: Path) -> None:
        """Looks through a folder and those inside it, but for links to folders, which it keeps for later."""
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            try:
                key = _identify(here)
                if key in self.seen:
                    self.met.add(self.seen[key])
                    if here.is_symlink():
                        self.found.left_out["link{s} to a folder that is there already"] += 1
                    continue
                self.seen[key] = here
                entries = sorted(os.scandir(here), key=lambda entry: entry.name)
            except OSError as error:
                self.found.failures.append(f"{here} {_reason(error)}")
                continue
            self.found.folders.append(here)
            for entry in entries:
                self._sort(entry, here / entry.name, waiting)

    def _sort(self, entry: os.DirEntry[str], path: Path, waiting: list[Path]) -> None:
        if is_system(entry.name):
            return
        suffix = path.suffix.lower()
        try:
            linked = entry.is_symlink()
            mode = entry.stat().st_mode
        except OSError as error:
            if suffix in self.suffixes:
                self.found.failures.append(f"{path} {_reason(error)}")
            else:
                self.found.left_out["broken link{s}" if entry.is_symlink() else "unreadable file{s}"] += 1
            return
        folder = stat.S_ISDIR(mode)
        if entry.name.startswith("."):
            self.found.left_out["hidden folder{s}" if folder else "hidden file{s}"] += 1
        elif folder:
            (self.links if linked else waiting).append(path)
        elif not stat.S_ISREG(mode):
            self.found.left_out["special file{s}"] += 1
        elif suffix in self.suffixes:
            self.found.images.append(path)
        else:
            self.found.left_out[f"{suffix} file{{s}}" if suffix else "file{s} without suffix"] += 1


def explain_missing(path: Path) -> str:
    """Why there is no file or folder at a path; empty where there is one."""
    try:
        path.stat()
    except OSError as error:
        return _reason(error)
    return ""


def is_system(name: str) -> bool:
    """Whether a file or folder of this name is the system's, not the user's."""
    name = name.lower()
    return name in SYSTEM or name.startswith(SYSTEM_STARTS)


def describe(counts: Counter[str]) -> str:
    """Counts of nouns, with `{s}` for their plural, in words: `3 .txt files, 1 broken link`."""
    return ", ".join(f"{count} {what.replace('{s}', 's' * (count != 1))}" for what, count in counts.items())


def _identify(folder: Path) -> tuple[int, int]:
    facts = folder.stat()
    return facts.st_dev, facts.st_ino


def _reason(error: OSError) -> str:
    """Why a path cannot be reached."""
    if error.errno == errno.ELOOP:
        return "is a link that leads in a circle"
    if error.errno == errno.ENOENT:
        return "is a link to something that is not there"
    return f"cannot be read: {(error.strerror or str(error)).lower()}"
