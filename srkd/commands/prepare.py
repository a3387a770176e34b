"""`srkd prepare`: a folder of photographs becomes a packed data set."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock, Timeout

from srkd.arguments import check_whole
from srkd.data.packed import (
    LR,
    MANIFEST,
    Appender,
    draws_identity,
    is_packed,
    map_hr,
    map_images,
    teacher_file,
)
from srkd.data.packing import LR_SOURCES, pack
from srkd.data.pairs import Source, find_pairs, list_sources, name_images
from srkd.data.sets import read_hash_list
from srkd.degradation import make_degradation
from srkd.errors import SrkdError, UsageError, choose
from srkd.files import StrPath, hash_file, write_text
from srkd.runtimes.runner import Runner, put
from srkd.terminal import Progress, reports, say, track
from srkd.upscaling.opening import Precision, open_runner
from srkd.weights.catalogue import find_weights

_LOCK = ".lock"


@reports
def prepare(
    data: StrPath,
    out: StrPath,
    *,
    scale: int = 4,
    lr: StrPath | None = None,
    degradation: dict[str, Any] | str = "none",
    draws: int = 1,
    seed: int = 0,
    val: StrPath | None = None,
    teacher: Sequence[StrPath] | StrPath | None = None,
    teacher_precision: Literal["uint8", "float16"] = "uint8",
    precision: Precision = "auto",
    tile: int = 0,
    clean_target: Literal["teacher", "hr"] = "teacher",
    jobs: int = 1,
    skip_bad: bool = False,
    dry_run: bool = False,
    verbose: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Pack photographs into a data set that training maps into memory.

    Run it again to continue after an interruption. Memory use does not grow with the number of images.

    Args:
        data: folder of HR photographs, in subfolders too (LR is made by MATLAB's bicubic), or with HR and LR
            inside (as DIV2K, BasicSR, RealSR and others have them), or `embedded`.
        out: folder to write; it takes about the images' width x height x 3 bytes.
        scale: the super-resolution factor, 2, 3 or 4.
        lr: folder of LR images, when it does not lie inside `data`, or is one of several.
        degradation: how LR is made of whole images, as in training: `none` for bicubic, `real`, `web`,
            `camera`, or a mapping. Training then reads the stored pairs, and needs no degradation itself.
        draws: degradations of each image; LR and the teachers' outputs are stored for each, HR once.
        seed: decides the degradations.
        val: the images to set aside for validation, a list as `sha256sum` writes it; every 40th when not
            given.
        teacher: weights whose outputs to add, in the forms of training; may be given several times. A set
            that is packed already is extended.
        teacher_precision: of the stored outputs: `uint8`, clipped and rounded, or `float16`, neither.
        precision: of a teacher that torch runs: `fp32`, `fp16`, `bf16`; `auto` is fp16 on CUDA. A CPU that
            multiplies bfloat16 is about twice as fast with `bf16`.
        tile: side in LR pixels of the tiles that a teacher works on; whole images when 0.
        clean_target: what is stored as a teacher's output where the degradation left LR clean: the teacher's,
            or `hr`, since a teacher that restores smooths what needs no restoring.
        jobs: processes that degrade; the results are the same.
        skip_bad: leave out images that cannot be read, with a note, instead of stopping.
        dry_run: list the pairs of HR and LR, and pack nothing.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        The manifest; with `dry_run`, `{pairs: [{hr, lr}]}`, with None for LR that would be made.

    Raises:
        UsageError: no images, no such teacher, or `out` holds something else.
        SrkdError: an image cannot be read, or the disk is full; what is packed by then is kept.
    """
    choose("scale", scale, (2, 3, 4))
    folder = Path(out)
    if folder.is_file():
        raise UsageError(f"{folder} is a file; give a folder")
    # A process that is killed as it starts leaves a lock alone.
    others = [path for path in folder.iterdir() if path.name != _LOCK] if folder.is_dir() else []
    if others and not is_packed(folder):
        raise UsageError(f"{folder} is not empty, and is not a packed data set; give another folder")
    mix = make_degradation(degradation)
    _check_draws(mix is not None, lr, draws, seed)
    check_whole("jobs", jobs, 1)
    files = find_pairs(data, scale, lr, skip_bad, only_hr=mix is not None)
    if dry_run:
        return {"pairs": list_sources(files, "degradation" if mix else "bicubic")}
    listed = read_hash_list(Path(val)) if val is not None else None
    named = [teacher] if isinstance(teacher, str | Path) else teacher or []
    teachers = [find_weights(name) for name in named]
    drawn = {} if mix is None else {"degradation": asdict(mix), "draws": draws, "seed": seed}
    request = {**_describe(files, scale), "val": listed, **drawn}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK, timeout=0):
            manifest = pack(folder, files, request, skip_bad, jobs)
            for path in teachers:
                manifest = _add_teacher(
                    folder, manifest, path, teacher_precision, precision, tile, clean_target
                )
            return manifest
    except Timeout:
        raise UsageError(f"another process is packing into {folder}") from None
    except OSError as error:
        raise SrkdError(
            f"cannot write into {folder}: {error.strerror}; fix that and run the same again, "
            "what is packed is kept"
        ) from error


def _check_draws(drawn: bool, lr: StrPath | None, draws: int, seed: int) -> None:
    check_whole("draws", draws, 1)
    check_whole("seed", seed, 0)
    if drawn and lr is not None:
        raise UsageError("LR comes from --lr or is made by --degradation; give one of them")
    if not drawn and draws > 1:
        raise UsageError("--draws needs a --degradation: without one all LR images would be the same")


def _describe(files: Sequence[Source], scale: int) -> dict[str, Any]:
    """What the manifest says of the files of a set."""
    found = {"format": 1, "scale": scale, "resampler": "matlab-bicubic"}
    found["sources"] = _describe_files([hr for hr, _ in files], name_images(files))
    if files[0][1]:
        small = [lr for _, lr in files if lr is not None]
        found |= {"resampler": "given", LR_SOURCES: _describe_files(small, [path.name for path in small])}
    return found


def _describe_files(paths: Sequence[Path], names: Sequence[str]) -> list[list[Any]]:
    return [[name, path.stat().st_size] for path, name in zip(paths, names, strict=True)]


def _add_teacher(
    folder: Path,
    manifest: dict[str, Any],
    path: Path,
    storage: Literal["uint8", "float16"],
    precision: Precision,
    tile: int,
    clean_target: str,
) -> dict[str, Any]:
    """Adds a teacher's outputs on every image; says how far storage and tiles are from the exact ones."""
    digest, images = hash_file(path, 16), manifest["images"]
    known = manifest.get("teachers", {}).get(digest)
    if known is not None:
        for was, wanted in (
            (known["precision"], storage),
            (known.get("arithmetic", "auto"), precision),
            (known.get("clean_target", clean_target), clean_target),
        ):
            if was != wanted:
                raise UsageError(
                    f"{folder} holds the outputs of {path.stem} as {was}; give another folder for {wanted}"
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
    entries = _store_outputs(model, path.stem, todo, appender, name, storage, tile)
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


def _store_outputs(
    model: Runner,
    title: str,
    images: Sequence[tuple[Mapping[str, Any], np.ndarray, np.ndarray | None]],
    appender: Appender,
    name: str,
    storage: str,
    tile: int,
) -> list[dict[str, Any]]:
    """Runs a teacher on the images that are left: each its entry, LR, and what is stored in place of the
    teacher's output, if anything. Returns the entries of all, with how far storage is off."""
    stored = len(appender.entries)
    if stored:
        say(f"{title}: continuing after {stored} of {len(images)} images")
    todo = images[stored:]
    try:
        for entry, lr, given in track(todo, f"{title} on {len(todo)} images", len(todo)):
            exact = _enlarge(model, lr, tile) if given is None else given.astype(np.float32) / 255
            kept = _store(exact, storage)
            gap = np.abs(kept.astype(np.float32) / (255 if storage == "uint8" else 1) - exact)
            appender.append(
                {"name": entry["name"], "largest": float(gap.max()), "mean": float(gap.mean())},
                {name: kept},
            )
    finally:
        appender.commit()
        appender.close()
    return appender.entries


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
