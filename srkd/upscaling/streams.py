"""Standard input and output in the place of files."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, is_file, is_folder
from srkd.images.formats import FORMATS
from srkd.images.reading import open_image
from srkd.terminal import on_stderr
from srkd.upscaling.moving import choose_suffix, kind_of

STANDARD_OUTPUT = "standard output"
# What they are named by, for the files that stand for them in a temporary folder.
_INPUT, _OUTPUT = "standard-input", "standard-output"


@contextmanager
def replace_streams(
    inputs: Sequence[str], out: StrPath, format: str
) -> Iterator[tuple[Sequence[str], Path, str]]:
    """Yields the inputs, the output, and the output's name for messages, with temporary files where `-`
    stands for standard input or output. What is written is copied to standard output at the end, and what is
    printed goes to standard error.

    Args:
        inputs: as `srkd upscale` takes them.
        out: where to write to.
        format: of the output; `keep` is the input's.

    Raises:
        UsageError: standard input beside other inputs, standard output for several, or one that is a
            terminal.
    """
    if "-" not in inputs and str(out) != "-":
        yield inputs, Path(out), str(out)
        return
    if "-" in inputs and len(inputs) > 1:
        raise UsageError("standard input (-) holds one image; name no others beside it")
    if str(out) == "-" and (len(inputs) > 1 or is_folder(inputs[0])):
        raise UsageError("several images do not fit into standard output (-o -); give -o a folder")
    if str(out) == "-" and sys.stdout.isatty():
        raise UsageError("standard output is a terminal; redirect it, or give -o a file")
    with tempfile.TemporaryDirectory(prefix="srkd-") as name:
        folder = Path(name)
        try:
            if "-" in inputs:
                inputs = [str(_read_input(folder / _INPUT))]
            if str(out) != "-":
                yield inputs, Path(out), str(out)
                return
            target = folder / f"{_OUTPUT}{_choose_suffix(Path(inputs[0]), format)}"
            with on_stderr():
                yield inputs, target, STANDARD_OUTPUT
            _copy_out(target)
        except SrkdError as error:
            raise type(error)(str(error).replace(f"{folder / _INPUT}", "standard input")) from error


def _read_input(path: Path) -> Path:
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    if path.stat().st_size == 0:
        raise UsageError("standard input is empty")
    return path


def _copy_out(path: Path) -> None:
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What its buffer still holds would be complained of once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SrkdError(f"cannot write to standard output: {error.strerror or error}") from error


def _choose_suffix(source: Path, format: str) -> str:
    """The suffix of a format; of `keep`, that of the image's, PNG where that cannot be written."""
    if is_file(source) and kind_of(source) == "clip":
        return choose_suffix(source, format)
    if format != "keep":
        return f".{format}"
    if source.suffix.lower() in FORMATS:
        return source.suffix.lower()
    if not is_file(source):
        return ".png"
    with open_image(source) as file:
        kind = str(file.format).lower().replace("jpeg", "jpg").replace("mpo", "jpg")
    return f".{kind}" if f".{kind}" in FORMATS or kind == "gif" else ".png"
