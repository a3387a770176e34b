"""`srkd prepare`: a folder of photographs becomes a packed data set."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock, Timeout

from srkd.data.packed import (
    HR,
    JOURNAL,
    LR,
    MANIFEST,
    VALIDATION,
    Appender,
    is_packed,
    map_images,
    read_manifest,
    teacher_file,
)
from srkd.data.pairs import Source, find_pairs, iter_pairs, list_sources, name_images
from srkd.data.sets import choose_validation, read_hash_list
from srkd.errors import SrkdError, UsageError, choose
from srkd.files import StrPath, hash_file, write_text
from srkd.runtimes.runner import Runner, put
from srkd.terminal import Progress, note, reports, say, track
from srkd.upscaling.opening import Precision, open_runner
from srkd.weights.catalogue import find_weights

_LOCK = ".lock"
_LR_SOURCES = "lr_sources"


@reports
def prepare(
    data: StrPath,
    out: StrPath,
    *,
    scale: int = 4,
    lr: StrPath | None = None,
    val: StrPath | None = None,
    teacher: Sequence[StrPath] | StrPath | None = None,
    teacher_precision: Literal["uint8", "float16"] = "uint8",
    precision: Precision = "auto",
    tile: int = 0,
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
        val: the images to set aside for validation, a list as `sha256sum` writes it; every 40th when not
            given.
        teacher: weights whose outputs to add, in the forms of training; may be given several times. A set
            that is packed already is extended.
        teacher_precision: of the stored outputs: `uint8`, clipped and rounded, or `float16`, neither.
        precision: of a teacher that torch runs: `fp32`, `fp16`, `bf16`; `auto` is fp16 on CUDA. A CPU that
            multiplies bfloat16 is about twice as fast with `bf16`.
        tile: side in LR pixels of the tiles that a teacher works on; whole images when 0.
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
    files = find_pairs(data, scale, lr, skip_bad)
    if dry_run:
        return {"pairs": list_sources(files)}
    listed = read_hash_list(Path(val)) if val is not None else None
    named = [teacher] if isinstance(teacher, str | Path) else teacher or []
    teachers = [find_weights(name) for name in named]
    request = {
        "format": 1,
        "scale": scale,
        "resampler": "given" if files[0][1] else "matlab-bicubic",
        "sources": _describe_files([hr for hr, _ in files], name_images(files)),
        "val": listed,
    }
    if files[0][1]:
        small = [lr for _, lr in files if lr is not None]
        request[_LR_SOURCES] = _describe_files(small, [path.name for path in small])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK, timeout=0):
            manifest = _pack(folder, files, request, skip_bad)
            for path in teachers:
                manifest = _add_teacher(folder, manifest, path, teacher_precision, precision, tile)
            return manifest
    except Timeout:
        raise UsageError(f"another process is packing into {folder}") from None
    except OSError as error:
        raise SrkdError(
            f"cannot write into {folder}: {error.strerror}; fix that and run the same again, "
            "what is packed is kept"
        ) from error


def _describe_files(paths: Sequence[Path], names: Sequence[str]) -> list[list[Any]]:
    return [[name, path.stat().st_size] for path, name in zip(paths, names, strict=True)]


def _pack(
    folder: Path, files: Sequence[Source], request: Mapping[str, Any], skip_bad: bool
) -> dict[str, Any]:
    """Packs the images, or what an earlier call left of them; returns the manifest."""
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        wanted = json.loads(json.dumps(request))  # tuples become lists, as in the file
        # Sets that were packed before LR files were recorded have none.
        differing = [
            key
            for key in wanted
            if manifest.get(key) != wanted[key] and (key in manifest or key != _LR_SOURCES)
        ]
        if differing:
            raise UsageError(
                f"{folder} holds a set of other {' and '.join(differing)} than asked for; give another folder"
            )
        say(f"{folder} is packed already: {len(manifest['images'])} images")
        return manifest
    appender = Appender(folder, (HR, LR), request)
    packed = len(appender.entries)
    if packed:
        say(f"continuing after {packed} of {len(files)} images")
    scale, total = request["scale"], len(files) - packed
    try:
        found = track(iter_pairs(files[packed:], scale), f"packing {total} images", total)
        for (_, pair), name in zip(found, [name for name, _ in request["sources"][packed:]], strict=True):
            if not isinstance(pair, SrkdError):
                height, width = pair.lr.shape[:2]
                entry = {"name": name, "sha256": pair.sha256, "height": height, "width": width}
                appender.append(entry, {HR: pair.hr, LR: pair.lr})
            elif skip_bad:
                note(str(pair), "left out")
                appender.append({"name": name, "left_out": str(pair)}, {})
            else:
                raise type(pair)(f"{pair}; fix it, or leave such images out with --skip-bad")
    finally:
        appender.commit()
        appender.close()
    manifest = _manifest(request, appender.entries)
    held = [entry for entry in manifest["images"] if entry["validation"]]
    write_text(folder / VALIDATION, "".join(f"{entry['sha256']}  {entry['name']}\n" for entry in held))
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    (folder / JOURNAL).unlink()
    left_out = len(manifest["left_out"])
    say(
        f"packed {len(manifest['images'])} images ({len(held)} for validation) -> {folder}"
        + (f"; {left_out} left out, see {MANIFEST}" if left_out else "")
    )
    return manifest


def _manifest(request: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The manifest of a journal's entries, with the images for validation chosen."""
    images = [
        {key: value for key, value in entry.items() if key != "bytes"}
        for entry in entries
        if "left_out" not in entry
    ]
    if not images:
        raise UsageError("not one image could be read")
    chosen = choose_validation([(entry["name"], entry["sha256"]) for entry in images], request["val"])
    for entry, validation in zip(images, chosen, strict=True):
        entry["validation"] = validation
    left_out = [
        {"name": entry["name"], "reason": entry["left_out"]} for entry in entries if "left_out" in entry
    ]
    return {**request, "images": images, "left_out": left_out}


def _add_teacher(
    folder: Path,
    manifest: dict[str, Any],
    path: Path,
    storage: Literal["uint8", "float16"],
    precision: Precision,
    tile: int,
) -> dict[str, Any]:
    """Adds a teacher's outputs on every image; says how far storage and tiles are from the exact ones."""
    digest, images = hash_file(path, 16), manifest["images"]
    known = manifest.get("teachers", {}).get(digest)
    if known is not None:
        for was, wanted in ((known["precision"], storage), (known.get("arithmetic", "auto"), precision)):
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
    small = map_images(folder / LR, images, 1)
    name, journal = teacher_file(digest, storage), f"journal-{digest}.jsonl"
    appender = Appender(folder, [name], {"teacher": digest, **facts}, journal)
    entries = _store_outputs(model, path.stem, images, small, appender, name, storage, tile)
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
    images: Sequence[Mapping[str, Any]],
    small: Sequence[np.ndarray],
    appender: Appender,
    name: str,
    storage: str,
    tile: int,
) -> list[dict[str, Any]]:
    """Runs a teacher on the images that are left; returns the entries of all, with how far storage is off."""
    stored = len(appender.entries)
    if stored:
        say(f"{title}: continuing after {stored} of {len(images)} images")
    todo = list(zip(images, small, strict=True))[stored:]
    try:
        for entry, lr in track(todo, f"{title} on {len(todo)} images", len(todo)):
            exact = _enlarge(model, lr, tile)
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
