"""`srkd prepare`: a folder of photographs becomes a packed data set."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from srkd.data.packed import HR, JOURNAL, LR, MANIFEST, VALIDATION, Appender, is_packed, read_manifest
from srkd.data.pairs import Source, find_pairs, iter_pairs
from srkd.data.sets import choose_validation, read_hash_list
from srkd.errors import SrkdError, UsageError
from srkd.files import console, track, write_text


def prepare(
    data: str,
    out: str,
    *,
    scale: int = 4,
    lr: str | None = None,
    val: str | None = None,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Pack photographs into a data set that training maps into memory.

    Run it again to go on after an interruption. Memory use does not grow with the number of images.

    Args:
        data: folder of HR photographs (LR is made by MATLAB's bicubic), or with HR and LR inside (DIV2K's
            names included), or `embedded`.
        out: folder to write; it takes about the images' width x height x 3 bytes.
        scale: the super-resolution factor, 2, 3 or 4.
        lr: folder of LR images, when it does not lie inside `data`.
        val: the images to set aside for validation, a list as `sha256sum` writes it; every 40th when not
            given.
        skip_bad: leave out images that cannot be read, and say so, instead of stopping.

    Returns:
        The manifest.

    Raises:
        UsageError: no images, or `out` holds something else.
        SrkdError: an image cannot be read, or the disk is full; what is packed by then is kept.
    """
    folder = Path(out)
    if folder.is_file():
        raise UsageError(f"{folder} is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not is_packed(folder):
        raise UsageError(f"{folder} is not empty, and no packed data set; give another folder")
    files = find_pairs(data, scale, lr)
    listed = read_hash_list(Path(val)) if val is not None else None
    request = {
        "format": 1,
        "scale": scale,
        "resampler": "given" if files[0][1] else "matlab-bicubic",
        "sources": [[path.name, path.stat().st_size] for path, _ in files],
        "val": listed,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            return _prepare(folder, files, request, skip_bad)
    except Timeout:
        raise UsageError(f"another process is packing into {folder}") from None
    except OSError as error:
        raise SrkdError(
            f"cannot write into {folder}: {error.strerror}; mend that and run the same again, "
            "what is packed is kept"
        ) from error


def _prepare(
    folder: Path, files: Sequence[Source], request: Mapping[str, Any], skip_bad: bool
) -> dict[str, Any]:
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        differing = [key for key in request if manifest.get(key) != request[key]]
        if differing:
            raise UsageError(
                f"{folder} holds a set of other {' and '.join(differing)} than asked for; give another folder"
            )
        console.print(f"{folder} is packed already: {len(manifest['images'])} images")
        return manifest
    appender = Appender(folder, (HR, LR), request)
    begun = len(appender.entries)
    if begun:
        console.print(f"going on after {begun} of {len(files)} images")
    scale, total = request["scale"], len(files) - begun
    try:
        found = track(iter_pairs(files[begun:], scale), f"packing {total} images", total)
        for (path, _), pair in found:
            if not isinstance(pair, SrkdError):
                height, width = pair.lr.shape[:2]
                entry = {"name": path.name, "sha256": pair.sha256, "height": height, "width": width}
                appender.append(entry, {HR: pair.hr, LR: pair.lr})
            elif skip_bad:
                console.print(f"[yellow]left out:[/] {pair}")
                appender.append({"name": path.name, "left_out": str(pair)}, {})
            else:
                raise type(pair)(f"{pair}; mend or remove it, or leave such images out with --skip_bad")
    finally:
        appender.commit()
        appender.close()
    images = [
        {key: value for key, value in entry.items() if key != "bytes"}
        for entry in appender.entries
        if "left_out" not in entry
    ]
    if not images:
        raise UsageError("not one image could be read")
    chosen = choose_validation([(entry["name"], entry["sha256"]) for entry in images], request["val"])
    for entry, validation in zip(images, chosen, strict=True):
        entry["validation"] = validation
    left_out = [
        {"name": entry["name"], "reason": entry["left_out"]}
        for entry in appender.entries
        if "left_out" in entry
    ]
    manifest = {**request, "images": images, "left_out": left_out}
    held = [entry for entry in images if entry["validation"]]
    write_text(folder / VALIDATION, "".join(f"{entry['sha256']}  {entry['name']}\n" for entry in held))
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    (folder / JOURNAL).unlink()
    console.print(
        f"packed {len(images)} images ({len(held)} for validation) -> {folder}"
        + (f"; {len(left_out)} left out, see {MANIFEST}" if left_out else "")
    )
    return manifest
