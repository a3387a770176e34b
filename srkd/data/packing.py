"""Photographs become the files of a packed data set."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from srkd.data.drawing import Draw, draw_all
from srkd.data.packed import HR, JOURNAL, LR, MANIFEST, VALIDATION, Appender, read_manifest
from srkd.data.pairs import Pair, Source, iter_pairs, try_pair
from srkd.data.sets import choose_validation, format_hash_list
from srkd.engines import Cluster
from srkd.errors import SrkdError, UsageError
from srkd.files import write_text
from srkd.terminal import note, say, track

# In requests and manifests of sets with random degradations alone.
DRAWN = ("degradation", "draws", "seed")
LR_SOURCES = "lr_sources"


def pack(
    folder: Path,
    files: Sequence[Source],
    request: Mapping[str, Any],
    skip_bad: bool,
    jobs: int = 1,
    cluster: Cluster | None = None,
) -> dict[str, Any]:
    """Packs images, or what an earlier call left of them.

    Args:
        folder: where to.
        files: the images.
        request: what begins the manifest: `scale`, `sources` (name and size of each file), `val` (a list of
            validation images, or None); with random degradations `degradation` (all its fields), `draws` and
            `seed`.
        skip_bad: leave out images that cannot be read.
        jobs: processes that degrade, where there is no cluster.
        cluster: what reads and degrades; this process when None.

    Returns:
        The manifest.

    Raises:
        UsageError: the folder holds, or began to hold, something else.
        SrkdError: an image cannot be read.
    """
    if (folder / MANIFEST).is_file():
        return _packed_before(folder, request)
    appender = Appender(folder, (HR, LR), request)
    last = request.get("draws", 1) - 1
    # An image that is left out has one entry, any other one for each draw.
    packed, done = 0, 0
    for entry in appender.entries:
        whole = "left_out" in entry or entry.get("draw", 0) == last
        packed, done = (packed + 1, 0) if whole else (packed, entry["draw"] + 1)
    if packed or done:
        say(f"continuing after {packed} of {len(files)} images")
    total = len(files) - packed
    try:
        read = _read(files[packed:], request, done, jobs, cluster)
        drawn = track(read, f"packing {total} images", total)
        for (pair, draws), (name, _) in zip(drawn, request["sources"][packed:], strict=True):
            if not isinstance(pair, SrkdError):
                height, width = pair.lr.shape[:2]
                entry = {"name": name, "sha256": pair.sha256, "height": height, "width": width}
                for facts, lr in draws:
                    first = {HR: pair.hr} if not facts.get("draw") else {}
                    appender.append({**entry, **facts}, {**first, LR: lr})
            elif skip_bad:
                note(str(pair), "left out")
                appender.append({"name": name, "left_out": str(pair)}, {})
            else:
                raise type(pair)(f"{pair}; fix it, or leave such images out with --skip-bad")
    finally:
        appender.commit()
        appender.close()
    manifest = _manifest(request, appender.entries)
    firsts = [entry for entry in manifest["images"] if not entry.get("draw")]
    held = [entry for entry in firsts if entry["validation"]]
    listed = [(entry["name"], entry["sha256"]) for entry in held]
    write_text(folder / VALIDATION, format_hash_list(listed))
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    (folder / JOURNAL).unlink()
    left_out = len(manifest["left_out"])
    say(
        f"packed {len(firsts)} images{f' in {last + 1} draws' * (last > 0)} ({len(held)} for validation) "
        f"-> {folder}" + (f"; {left_out} left out, see {MANIFEST}" if left_out else "")
    )
    return manifest


def _read(
    files: Sequence[Source], request: Mapping[str, Any], done: int, jobs: int, cluster: Cluster | None
) -> Iterator[tuple[Pair | SrkdError, Iterable[Draw]]]:
    """Reads and degrades images, in order. Of the first, `done` draws are there already."""
    if cluster is not None:
        return _read_there(files, request, done, cluster)
    return draw_all((pair for _, pair in iter_pairs(files, request["scale"])), request, done, jobs)


def _read_there(
    files: Sequence[Source], request: Mapping[str, Any], done: int, cluster: Cluster
) -> Iterator[tuple[Pair | SrkdError, Iterable[Draw]]]:
    """Reads and degrades images on a cluster, in order. Of the first, `done` draws are there already."""
    # The list of all files is not for each worker.
    common = {key: request[key] for key in ("scale", *DRAWN) if key in request}
    items = ((source, 0 if number else done) for number, source in enumerate(files))
    for _, found in cluster.run(_read_one, common, items, ordered=True):
        yield (found, []) if isinstance(found, SrkdError) else found


def _read_one(
    request: Mapping[str, Any], item: tuple[Source, int]
) -> tuple[Pair | SrkdError, Iterable[Draw]]:
    source, done = item
    ((pair, draws),) = draw_all([try_pair(source, request["scale"])], request, done, 1)
    return pair, list(draws)


def _packed_before(folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a folder that is packed; raises UsageError where it holds something else."""
    manifest = read_manifest(folder)
    wanted = json.loads(json.dumps(request))  # tuples become lists, as in the file
    # Sets that were packed before LR files were recorded have none.
    keys = [key for key in {**wanted, **dict.fromkeys(DRAWN)} if key in manifest or key != LR_SOURCES]
    differing = [key for key in keys if manifest.get(key) != wanted.get(key)]
    if differing:
        raise UsageError(
            f"{folder} holds a set of other {' and '.join(differing)} than asked for; give another folder"
        )
    say(f"{folder} is packed already: {len(manifest['images'])} images")
    return manifest


def _manifest(request: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The manifest of a journal's entries, with the images for validation chosen."""
    held = False
    images = [
        {key: value for key, value in entry.items() if key != "bytes"}
        for entry in entries
        if "left_out" not in entry
    ]
    if not images:
        raise UsageError("not one image could be read")
    firsts = [entry for entry in images if not entry.get("draw")]
    chosen = choose_validation([(entry["name"], entry["sha256"]) for entry in firsts], request["val"])
    validation = iter(chosen)
    for entry in images:
        # All draws of an image serve one purpose.
        held = next(validation) if not entry.get("draw") else held
        entry["validation"] = held
    left_out = [
        {"name": entry["name"], "reason": entry["left_out"]} for entry in entries if "left_out" in entry
    ]
    return {**request, "images": images, "left_out": left_out}
