"""Which images a job upscales: files, globs, and folders with what is in them."""

import glob
import importlib.util
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from srkd.errors import SrkdError, UsageError
from srkd.files import is_folder
from srkd.images.folders import IMAGES, explain_missing, find_images, is_system
from srkd.images.results import leave_out_results
from srkd.terminal import note
from srkd.upscaling.shards import SUFFIX
from srkd.video.formats import ALWAYS_ANIMATED, CLIPS

# What a folder's files are upscaled by their names, clips where they can be read.
STILL = IMAGES.union(ALWAYS_ANIMATED)


@dataclass
class Inputs:
    """The images to upscale.

    Args:
        images: each with its path inside the output.
        failures: images and folders that cannot be reached, a message each.
        left_out: how many of what were passed over, as `Found` has it.
        from_folder: whether some are there because a folder was named.
    """

    images: dict[Path, Path] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    from_folder: bool = False


def collect(texts: Sequence[str], out: Path) -> Inputs:
    """Finds the images that paths and globs name.

    What lies in the output folder, and what an earlier job made, is no input.

    Raises:
        UsageError: a path or glob names nothing, the output is an input, or there is no image.
        SrkdError: no image can be reached.
    """
    inputs = Inputs()
    suffixes = STILL | CLIPS if importlib.util.find_spec("av") else STILL
    for text in texts:
        for path in _match(text, inputs, suffixes):
            if not path.is_dir():
                inputs.images[path] = Path(path.name)
                continue
            if is_folder(out) and out.samefile(path):
                raise UsageError(
                    f"{out} is the folder of the images, and the results would lie among them; give another "
                    f"-o, such as {out / 'upscaled'}"
                )
            inputs.from_folder = True
            found = find_images(path, out, suffixes)
            leave_out_results(found)
            inputs.images |= {image: image.relative_to(path) for image in found.images}
            inputs.failures += found.failures
            inputs.left_out += found.left_out
    if any(reason.split(" ")[0] in CLIPS for reason in inputs.left_out):
        note("pip install 'srkd[video]' upscales clips too")
    if not inputs.images:
        if inputs.failures:
            more = f" (and {len(inputs.failures) - 1} more like it)" if len(inputs.failures) > 1 else ""
            raise SrkdError(f"{inputs.failures[0]}{more}; no image is left to upscale")
        raise UsageError(f"no images to upscale in {', '.join(texts)}")
    return inputs


def _match(text: str, inputs: Inputs, suffixes: frozenset[str]) -> list[Path]:
    """The files and folders that a path or glob names, of a glob with these suffixes; adds what cannot be
    taken to the inputs' counts."""
    path = Path(text)
    if os.path.lexists(path):
        matches = [path]
    else:
        matches = sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207  # Path.glob takes no absolute patterns
        matches = [match for match in matches if not is_system(match.name)]
        if not matches:
            what = "no images match" if glob.has_magic(text) else "there is no image or folder"
            raise UsageError(f"{what} {text}")
    taken = []
    for match in matches:
        reason = explain_missing(match)
        if reason:
            inputs.failures.append(f"{match} {reason}")
        elif match == path or match.is_dir() or match.suffix.lower() in {*suffixes, SUFFIX}:
            taken.append(match)
        else:
            inputs.left_out[f"{match.suffix} file{{s}}" if match.suffix else "file{s} without suffix"] += 1
    return taken
