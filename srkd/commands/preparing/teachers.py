"""Teachers' outputs, stored beside the images of a packed data set."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from srkd.data.packed import LR, MANIFEST, Appender, draws_identity, map_hr, map_images, teacher_file
from srkd.engines import Cluster, Needs
from srkd.errors import SrkdError, UsageError
from srkd.files import hash_file, write_text
from srkd.runtimes.runner import Runner, put
from srkd.terminal import say, track
from srkd.upscaling.opening import Device, Precision, open_runner


class Wanted(NamedTuple):
    """A teacher's outputs as they are asked for: its weights, how outputs are stored, what torch computes in,
    the tiles' side, and what is stored where LR is clean."""

    path: Path
    storage: Literal["uint8", "float16"]
    precision: Precision
    tile: int
    clean_target: str


def add_teacher(
    folder: Path, manifest: dict[str, Any], wanted: Wanted, cluster: Cluster | None = None
) -> dict[str, Any]:
    """Adds a teacher's outputs on every image; says how far storage and tiles are from the exact ones.

    Args:
        folder: the packed set's.
        manifest: its manifest.
        wanted: the teacher.
        cluster: what runs it; this process when None.

    Returns:
        The manifest with the teacher.

    Raises:
        UsageError: the set holds its outputs in another form, or it is of another scale.
        SrkdError: it cannot be run, or the outputs cannot be written; what is stored by then is kept.
    """
    path, storage, precision, tile, clean_target = wanted
    digest, images = hash_file(path, 16), manifest["images"]
    known = manifest.get("teachers", {}).get(digest)
    if known is not None:
        for was, asked in (
            (known["precision"], storage),
            (known.get("arithmetic", "auto"), precision),
            (known.get("clean_target", clean_target), clean_target),
        ):
            if was != asked:
                raise UsageError(
                    f"{folder} holds the outputs of {path.stem} as {was}; give another folder for {asked}"
                )
        say(f"{folder} holds the outputs of {path.stem} already")
        return manifest
    model = open_runner(path, precision=precision)
    if model.scale != manifest["scale"]:
        raise UsageError(
            f"the teacher {path.name} is x{model.scale}, and {folder} is packed for x{manifest['scale']}"
        )
    # Sets packed before there was a choice name none.
    arithmetic = {} if precision == "auto" else {"arithmetic": precision}
    facts = {"precision": storage, "tile": tile, **arithmetic}
    draws = draws_identity(manifest)
    if draws is not None:
        # An output belongs to its LR: with other draws it is nobody's.
        facts |= {"draws": draws, "clean_target": clean_target}
    small = map_images(folder / LR, images, 1)
    name, journal = teacher_file(digest, storage), f"journal-{digest}.jsonl"
    appender = Appender(folder, [name], {"teacher": digest, **facts}, journal)
    instead: list[np.ndarray | None] = [None] * len(images)
    if clean_target == "hr":
        large = map_hr(folder, images, manifest["scale"])
        instead = [hr if entry.get("clean") else None for entry, hr in zip(images, large, strict=True)]
    todo = list(zip(images, small, instead, strict=True))
    entries = _store_outputs(model, wanted, todo, appender, name, cluster)
    # In image units of [0, 1]; clipping to 0..1 is part of the storage in 8 bit.
    off = {
        "largest": max(entry["largest"] for entry in entries),
        "mean": float(np.mean([entry["mean"] for entry in entries])),
    }
    facts = {"name": path.stem, **facts, "storage": off}
    said = f"stored as {storage}, off by {off['mean']:.2g} on average"
    if tile:
        facts["tiling"] = _tiling(model, small[0], tile)
        said += f", tiles by at most {facts['tiling']['largest']:.2g} (first image)"
    manifest = {**manifest, "teachers": {**manifest.get("teachers", {}), digest: facts}}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    (folder / journal).unlink()
    say(f"added the outputs of {path.stem} -> {folder / name} ({said})")
    return manifest


class Output(NamedTuple):
    """A teacher's output as it is stored, and how far it is off, at most and on average."""

    kept: np.ndarray
    largest: float
    mean: float


Image = tuple[
    np.ndarray, np.ndarray | None
]  # LR, and what is stored in place of the teacher's output, if anything


def _store_outputs(
    model: Runner,
    wanted: Wanted,
    images: Sequence[tuple[Mapping[str, Any], np.ndarray, np.ndarray | None]],
    appender: Appender,
    name: str,
    cluster: Cluster | None,
) -> list[dict[str, Any]]:
    """Runs a teacher on the images that are left: each its entry, LR, and what is stored in place of the
    teacher's output, if anything. Returns the entries of all, with how far storage is off."""
    stored, title = len(appender.entries), wanted.path.stem
    if stored:
        say(f"{title}: continuing after {stored} of {len(images)} images")
    todo = images[stored:]
    given = ((lr, instead) for _, lr, instead in todo)
    outputs = (_compute(model, wanted, image) for image in given)
    if cluster is not None:
        outputs = _compute_there(cluster, wanted, given)
    try:
        found = track(outputs, f"{title} on {len(todo)} images", len(todo))
        for (entry, _, _), output in zip(todo, found, strict=True):
            facts = {"name": entry["name"], "largest": output.largest, "mean": output.mean}
            appender.append(facts, {name: output.kept})
    finally:
        appender.commit()
        appender.close()
    return appender.entries


def _compute(model: Runner, wanted: Wanted, image: Image) -> Output:
    lr, given = image
    exact = _enlarge(model, lr, wanted.tile) if given is None else given.astype(np.float32) / 255
    kept = _store(exact, wanted.storage)
    gap = np.abs(kept.astype(np.float32) / (255 if wanted.storage == "uint8" else 1) - exact)
    return Output(kept, float(gap.max()), float(gap.mean()))


def _compute_there(cluster: Cluster, wanted: Wanted, images: Iterable[Image]) -> Iterator[Output]:
    device, needs = ("cuda", Needs(1, 1)) if cluster.has_gpus else ("cpu", Needs())
    for _, output in cluster.run(_compute_one, (wanted, device), images, needs, ordered=True):
        if isinstance(output, SrkdError):
            raise output
        yield output


@lru_cache(maxsize=1)
def _open(path: Path, device: Device, precision: Precision) -> Runner:
    """A worker keeps its teacher open from image to image; on a CPU each has one core."""
    return open_runner(path, device, precision=precision, threads=1)


def _compute_one(common: tuple[Wanted, Device], image: Image) -> Output:
    wanted, device = common
    return _compute(_open(wanted.path, device, wanted.precision), wanted, image)


def _store(image: np.ndarray, precision: str) -> np.ndarray:
    if precision == "float16":
        return image.astype(np.float16)
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)


def _tiling(model: Runner, lr: np.ndarray, tile: int) -> dict[str, float]:
    """How far tiles take a teacher's output from that on the whole image."""
    every = np.abs(_enlarge(model, lr, tile) - _enlarge(model, lr, 0))
    return {"largest": float(every.max()), "mean": float(every.mean())}


def _enlarge(model: Runner, lr: np.ndarray, tile: int) -> np.ndarray:
    """A teacher's output, float32 about [0, 1]."""
    result = np.empty((lr.shape[0] * model.scale, lr.shape[1] * model.scale, 3), np.float32)
    for part in model.parts(lr, tile):
        put(result, part)
    return result
