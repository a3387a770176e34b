"""`srkd degrade`: LR images of random degradations, to look at."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from srkd.arguments import check_whole
from srkd.data.pairs import Pair, Source, find_pairs, iter_pairs, name_images
from srkd.degradation import Degradation, make_degradation
from srkd.errors import SrkdError, UsageError, choose
from srkd.files import StrPath, write_text
from srkd.terminal import Progress, note, reports, say, track

MANIFEST = "degradation.json"


@reports
def degrade(
    data: StrPath,
    out: StrPath,
    *,
    degradation: dict[str, Any] | str = "real",
    draws: int = 1,
    scale: int = 4,
    seed: int = 0,
    verbose: bool = True,
    progress: Progress | None = None,
) -> list[Path]:
    """Degrade photographs at random, as training with this degradation does, to look at the result.

    Run it again to continue after an interruption, or with more draws to add some. Training degrades crops,
    this command whole images.

    Args:
        data: folder of HR photographs, in the forms of training data; LR images in it are not used.
        out: folder to write, NAME_0.png, NAME_1.png and so on for each image, and degradation.json.
        degradation: a preset, `real`, `web` or `camera`; or a mapping of the fields of
            srkd.degradation.Degradation over such a `preset`, as "{preset: web, jpeg_range2: [20, 40]}".
        draws: degradations of each image.
        scale: how many times smaller the results are, 2, 3 or 4.
        seed: decides what is drawn. Each draw depends on it, on the image's bytes and on its number.
        verbose: print what is done to each image.
        progress: called as progress(description, done, total) while it works.

    Returns:
        The files of all draws.

    Raises:
        UsageError: no images, an impossible degradation, or `out` holds something else.
        SrkdError: some images cannot be read (the others are done), or a file cannot be written.
    """
    choose("scale", scale, (2, 3, 4))
    mix = make_degradation(degradation)
    if mix is None:
        raise UsageError("degradation none changes nothing; give real, web, camera, or a mapping")
    check_whole("draws", draws, 1)
    check_whole("seed", seed, 0)
    folder, files = Path(out), find_pairs(data, scale, only_hr=True)
    _open(folder, {"format": 1, "seed": seed, "scale": scale, "degradation": asdict(mix)})
    named = list(zip(_targets(folder, files, draws), files, strict=True))
    missing = [
        (targets, (path, None)) for targets, (path, _) in named if not all(t.exists() for t in targets)
    ]
    if len(missing) < len(files):
        say(f"{len(files) - len(missing)} of {len(files)} images are done already")
    found = iter_pairs([source for _, source in missing], scale)
    failed = []
    for (targets, _), (_, pair) in track(
        zip(missing, found, strict=True), f"degrading {len(missing)} images", len(missing)
    ):
        if isinstance(pair, SrkdError):
            note(str(pair), "left out")
            failed.append(pair)
        else:
            _draw(pair, targets, seed, mix)
    done = [target for targets, _ in named for target in targets if target.exists()]
    say(f"{len(done)} images -> {folder}")
    if failed:
        raise SrkdError(f"{len(failed)} of {len(files)} images were left out, the first: {failed[0]}")
    return done


def _open(folder: Path, request: dict[str, Any]) -> None:
    """Makes the folder, or checks that it was begun with the same request."""
    request = json.loads(json.dumps(request))  # tuples become lists, as in the file
    manifest = folder / MANIFEST
    if manifest.is_file():
        try:
            old = json.loads(manifest.read_text(encoding="utf-8"))
            differing = [key for key in request if old[key] != request[key]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SrkdError(f"{manifest} is damaged; give another folder") from error
        if differing:
            raise UsageError(f"{folder} was made with another {' and '.join(differing)}; give another folder")
    elif folder.is_file():
        raise UsageError(f"{folder} is a file; give a folder")
    elif folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty, and srkd degrade did not make it; give another folder")
    else:
        write_text(manifest, json.dumps(request, indent=1) + "\n")


def _targets(folder: Path, files: Sequence[Source], draws: int) -> list[list[Path]]:
    """The files of each image's draws; those in subfolders carry the folder's name, and those that differ
    in their suffix alone keep it."""
    full = [name.replace("/", "_") for name in name_images(files)]
    stems = Counter(Path(name).stem.lower() for name in full)
    names = [Path(name).stem if stems[Path(name).stem.lower()] == 1 else name for name in full]
    for name, count in Counter(name.lower() for name in names).items():
        if count > 1:
            raise UsageError(f"{count} images would be named {name}; rename them")
    return [[folder / f"{name}_{draw}.png" for draw in range(draws)] for name in names]


def _draw(pair: Pair, targets: Sequence[Path], seed: int, mix: Degradation) -> None:
    from srkd.data.degrade import draw_lr, draw_rng
    from srkd.images.writing import write_image

    for draw, target in enumerate(targets):
        if not target.exists():
            steps: list[str] = []
            lr = draw_lr(pair.lr, pair.hr, draw_rng(seed, pair.sha256, draw), mix, steps.append)
            write_image(target, lr)
            say(f"{target.name}: {', '.join(steps)}")
