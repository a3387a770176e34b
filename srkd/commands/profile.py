"""`srkd profile`: a folder that measures another device, for `srkd compress --profile`."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from srkd.errors import UsageError, choose
from srkd.files import StrPath, replacing, write_text
from srkd.terminal import Progress, reports, say, track

_README = """Networks to time on a device, for srkd compress --profile. On the device, with Python 3.9 or
newer:

    python -m pip install onnxruntime numpy
    python profile.py --threads 4

It writes device.json; bring that back. python profile.py --file student.onnx --size 320x180 times one file.
"""


@reports
def profile(
    out: StrPath,
    *,
    scale: int = 4,
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    size: Sequence[str] | str = ("320x180",),
    verbose: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Make a folder that measures another device.

    It holds a dozen small ONNX networks with random weights, and a script that needs onnxruntime and numpy
    alone. Copied to the device and run there, the script writes device.json, by which
    `srkd compress --profile device.json` predicts the times of all candidates.

    Args:
        out: folder to write; new or empty.
        scale: of the students, 2, 3 or 4.
        precision: of the files.
        size: LR sizes to time them on, WIDTHxHEIGHT; may be given several times. Times for other sizes are
            predicted from these.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        The folder.

    Raises:
        UsageError: the folder is not empty, or a size that is none.
        SrkdError: a file cannot be written.
    """
    choose("scale", scale, (2, 3, 4))
    sizes = [_read_size(text) for text in ([size] if isinstance(size, str) else size)]
    folder = Path(out)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder; give another")
    from srkd.exports.writing import write_draft
    from srkd.search import measuring
    from srkd.search.candidates import list_candidates

    candidates = list_candidates(scale)
    chosen = []
    for name in dict.fromkeys(one.architecture for one in candidates):
        own = [one for one in candidates if one.architecture == name]
        # Of each architecture from the smallest to one of half the largest's work.
        most = own[-1].macs / 2
        own = [one for one in own if one.macs <= most] or own[:1]
        chosen += dict.fromkeys(own[round(k * (len(own) - 1) / 3)] for k in range(4))
    networks = []
    for one in track(chosen, f"writing {len(chosen)} networks", len(chosen)):
        file = f"{one.name.replace(' ', '_')}.onnx"
        write_draft(one.create(scale).eval(), folder / file, "onnx", precision)
        networks.append({"file": file, "architecture": one.architecture, "options": dict(one.options)})
    kit = {"format": 1, "scale": scale, "precision": precision, "sizes": sizes, "networks": networks}
    write_text(folder / "kit.json", json.dumps(kit, indent=1) + "\n")
    write_text(folder / "README.txt", _README)
    with replacing(folder / "profile.py") as temporary:
        shutil.copyfile(measuring.__file__, temporary)
    say(
        f"{folder}: copy it to the device and run python profile.py there; then srkd compress --profile "
        f"device.json"
    )
    return folder


def _read_size(text: str) -> list[int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    sides = [int(side) for side in match.groups()] if match else []
    if len(sides) != 2 or not all(16 <= side <= 8192 for side in sides):
        raise UsageError(f"size '{text}' is not WIDTHxHEIGHT, as 320x180")
    return sides
