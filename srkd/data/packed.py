"""Packed data sets: the pixels of many images in a few large files, which training maps into memory.

A folder of

    manifest.json       scale, resampler, and each image's name, SHA-256, size and use
    hr.u8, lr.u8        the images' pixels, (H, W, 3) uint8, one after another in the manifest's order
    validation.sha256   the images set aside for validation, as `sha256sum` writes them
    teacher-*.u8, .f16  a teacher's outputs, named by the hash of its weights, as large as HR

A set with random degradations has several LR images of each HR image, its draws, one entry in the manifest
each: HR is stored once, LR and the teachers' outputs for every draw.

The manifest is written last, so a folder that has one is whole. Until then a journal says how far the
pixel files are.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from srkd.data.pairs import Pair
from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath

MANIFEST = "manifest.json"
VALIDATION = "validation.sha256"
JOURNAL = "journal.jsonl"
HR, LR = "hr.u8", "lr.u8"
PRECISIONS = {"uint8": "u8", "float16": "f16"}
# Work that a killed process loses at most: this much, or this long.
_COMMIT_BYTES, _COMMIT_SECONDS = 64 * 2**20, 2.0


def is_packed(folder: StrPath) -> bool:
    """Whether a folder holds a packed data set, whole or unfinished."""
    return any((Path(folder) / name).is_file() for name in (MANIFEST, JOURNAL))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a packed data set.

    Raises:
        UsageError: the set is not finished.
        SrkdError: the manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UsageError(f"{folder} is a packed data set that is not finished; run srkd prepare again")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != 1 or not isinstance(manifest["images"], list):
            raise ValueError("not a manifest")
        return manifest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SrkdError(f"{path} is damaged; run srkd prepare again, into another folder") from error


def teacher_file(digest: str, precision: str) -> str:
    """The name of the file that holds a teacher's outputs."""
    return f"teacher-{digest}.{PRECISIONS[precision]}"


def stored_teachers(folder: Path) -> dict[str, str]:
    """The teachers whose outputs a packed data set holds: hash to file name."""
    found = read_manifest(folder).get("teachers", {})
    return {digest: teacher_file(digest, entry["precision"]) for digest, entry in found.items()}


def open_packed(folder: Path, scale: int, teachers: Sequence[str] = ()) -> tuple[list[Pair], list[Pair]]:
    """Maps a packed data set: its training and its validation images.

    Args:
        folder: the data set's.
        scale: the super-resolution factor.
        teachers: hashes of the teachers whose stored outputs to map too.

    Raises:
        UsageError: it is not finished, or of another scale.
        SrkdError: it is damaged, or its files do not have the sizes of its manifest, or a teacher's outputs
            are those of other draws.
    """
    manifest = read_manifest(folder)
    if manifest["scale"] != scale:
        raise UsageError(f"{folder} is packed for x{manifest['scale']}, not x{scale}")
    images = manifest["images"]
    large = map_hr(folder, images, scale)
    small = map_images(folder / LR, images, 1)
    files = stored_teachers(folder)
    for digest in teachers:
        if manifest["teachers"][digest].get("draws") != draws_identity(manifest):
            raise SrkdError(
                f"{folder / files[digest]} holds a teacher's outputs on other draws; run srkd prepare "
                "again, into another folder"
            )
    columns = [map_images(folder / files[digest], images, scale) for digest in teachers]
    targets = list(zip(*columns, strict=True)) if columns else [()] * len(images)
    train, val = [], []
    for entry, hr, lr, stored in zip(images, large, small, targets, strict=True):
        name = entry["name"] + (f"#{entry['draw']}" if "draw" in entry else "")
        pair = Pair(name, lr, hr, entry["sha256"], stored)
        (val if entry["validation"] else train).append(pair)
    return train, val


def draws_identity(manifest: Mapping[str, Any]) -> str | None:
    """A hash of what decides the LR images of a set with random degradations; None for other sets."""
    if "degradation" not in manifest:
        return None
    entries = [[entry["sha256"], entry["draw"]] for entry in manifest["images"]]
    facts = [manifest["degradation"], manifest["seed"], manifest["scale"], entries]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def map_images(path: Path, images: Sequence[Mapping[str, Any]], scale: int) -> list[np.ndarray]:
    """Maps a file of images, uint8 or float16 by its suffix, each `scale` times as large as its entry says.

    Raises:
        SrkdError: the file is missing or its size is not that of its entries.
    """
    shapes = [(entry["height"] * scale, entry["width"] * scale, 3) for entry in images]
    kind = np.dtype(np.float16 if path.suffix == ".f16" else np.uint8)
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    size, wanted = path.stat().st_size if path.is_file() else None, int(ends[-1]) * kind.itemsize
    if size != wanted:
        was = "is missing" if size is None else f"has {size} bytes, not the {wanted} of its manifest"
        raise SrkdError(f"{path} {was}; run srkd prepare again, into another folder")
    # A plain view: slices of numpy's own memmap class cost more than the copy of a crop.
    flat = np.asarray(np.memmap(path, kind, mode="r"))
    return [flat[a:b].reshape(shape) for a, b, shape in zip(ends, ends[1:], shapes, strict=False)]


def map_hr(folder: Path, images: Sequence[Mapping[str, Any]], scale: int) -> list[np.ndarray]:
    """Maps the HR images, one for each entry; the draws of an image share one. Raises as `map_images`."""
    whole = map_images(folder / HR, [entry for entry in images if not entry.get("draw")], scale)
    return [whole[place] for place in np.cumsum([not entry.get("draw") for entry in images]) - 1]


class Appender:
    """Grows files together, and a journal that says how far they are whole.

    A killed process leaves more in the files than the journal knows of; the next one cuts it off.

    Args:
        folder: where the files lie.
        names: the files.
        request: what is being made; a journal of anything else is refused.
        journal: its file's name.

    Raises:
        UsageError: the journal there belongs to another request.
        SrkdError: a file is shorter than its journal says, or cannot be written.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], request: Mapping[str, Any], journal: str = JOURNAL
    ):
        self.journal = folder / journal
        # As in the file, where tuples become lists.
        self.entries = self._read_journal(json.loads(json.dumps(request)))
        self.files: dict[str, BinaryIO] = {}
        for name in names:
            path = folder / name
            whole = sum(entry["bytes"].get(name, 0) for entry in self.entries)
            if whole > (path.stat().st_size if path.exists() else 0):
                raise SrkdError(f"{path} lost what was packed before; pack into another folder")
            self.files[name] = path.open("r+b" if path.exists() else "w+b")
            self.files[name].truncate(whole)
            self.files[name].seek(whole)
        self._pending: list[dict[str, Any]] = []
        self._size, self._since = 0, time.monotonic()

    def _read_journal(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        if not self.journal.exists():
            with self.journal.open("w", encoding="utf-8", newline="\n") as file:
                _write_synced(file, json.dumps(request) + "\n")
            return []
        lines = self.journal.read_text(encoding="utf-8").split("\n")
        # Only whole lines count: the last may have been cut by a kill.
        content = [json.loads(line) for line in lines[:-1]]
        if content and content[0] != request:
            old = content[0]
            changed = [key for key in {**old, **request} if old.get(key) != request.get(key)]
            both = {key: f"{key} was {old.get(key)!r}, now {request.get(key)!r}" for key in changed}
            told = ", ".join(text if len(text) < 80 else f"another {key}" for key, text in both.items())
            raise UsageError(
                f"{self.journal.parent} was started with another request: {told}; give another folder"
            )
        with self.journal.open("r+" if content else "w", encoding="utf-8", newline="\n") as file:
            if content:
                file.truncate(sum(len(line.encode()) + 1 for line in lines[:-1]))
            else:
                _write_synced(file, json.dumps(request) + "\n")
        return content[1:]

    def append(self, entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Adds an image's pixels, one array for each file, and what the journal shall say of it."""
        for name, array in arrays.items():
            self.files[name].write(np.ascontiguousarray(array).data)
        sizes = {name: array.nbytes for name, array in arrays.items()}
        self._pending.append({**entry, "bytes": sizes})
        self._size += sum(sizes.values())
        if self._size > _COMMIT_BYTES or time.monotonic() - self._since > _COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Makes all that was appended survive a kill: first the pixels reach the disk, then the journal."""
        # Taken off first: a commit that is interrupted and called again must not write an entry twice.
        pending, self._pending = self._pending, []
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
        with self.journal.open("a", encoding="utf-8", newline="\n") as file:
            _write_synced(file, "".join(json.dumps(entry) + "\n" for entry in pending))
        self.entries += pending
        self._size, self._since = 0, time.monotonic()

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def _write_synced(file: Any, text: str) -> None:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
