"""What the names of files and folders say in public data sets: HR or LR, and the scale."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# Small letters count between underscores only: a folder named `Mustang gt` is no data set.
_HR_FOLDER = re.compile(
    r"(^|[ _.-])(HR|GT|HQ)(mod\d+)?(?=$|[ _.-]|x\d)|(^|_)(hr|gt|hq)(?=$|_)|^(train|valid|val|test)H$"
)
_LR_FOLDER = re.compile(
    r"(^|[ _.-])L[RQ](BI|BD|DN|bic|bicubic)?(x?\d)?(?=$|[ _.-])|(^|_)l[rq](bic)?(x?\d)?(?=$|_)"
    r"|^(train|valid|val|test)L$"
)
_FOLDER_SCALE = re.compile(
    r"(?:(?:^|[ _.-])x|(?:bic|L[RQ]|BI|BD|DN|bicubic)x?|SRF_?)([2-9])(?=$|[ _.-])", re.I
)
_NUMBER = re.compile(r"x?([2-9])x?", re.I)
# At the end of a file's name: x4, and as DIV2K's mild, difficult and wild have it x4m, x4d, x4w1.
_FILE_SCALE = re.compile(r"[ _.-]?x([2-9])(?:[mdw]\d?)?$", re.I)
_FILE_MARK = re.compile(
    r"[ _.-](?:(?P<hr>HR|GT|HQ)|(?P<lr>L[RQ]))(?:BI|BD|DN|bic)?(?:x?(?P<scale>[2-9]))?$", re.I
)
_FACTOR = re.compile(r"_SRF_([2-9])$", re.I)


class Stem(NamedTuple):
    """What a file's name says.

    Args:
        base: the name without marks, which HR and LR share.
        kind: `HR` or `LR` where it is marked so, else empty.
        scale: of the mark; 0 where there is none.
        prefix: what comes before the mark.
    """

    base: str
    kind: str
    scale: int
    prefix: str


def kind_of(name: str) -> str:
    """`HR` or `LR` by a folder's name; empty for others."""
    if _LR_FOLDER.search(name):
        return "LR"
    return "HR" if _HR_FOLDER.search(name) else ""


def parse_stem(stem: str) -> Stem:
    """A file's name, without suffix, taken apart."""
    rest, kind, scale = stem, "", 0
    if match := _FILE_SCALE.search(rest):
        rest, scale = rest[: match.start()], int(match[1])
    if match := _FILE_MARK.search(rest):
        rest, kind = rest[: match.start()], "HR" if match["hr"] else "LR"
        scale = scale or int(match["scale"] or 0)
    prefix = rest
    if match := _FACTOR.search(rest):
        rest, scale = rest[: match.start()], scale or int(match[1])
    # A name that is nothing but marks is a name.
    return Stem(rest, kind, scale, prefix) if rest else Stem(stem, "", 0, stem)


def folder_scale(name: str, number: bool) -> int:
    """The scale in a folder's name, where numbers count alone too; 0 for none."""
    found = _FOLDER_SCALE.search(name) or (_NUMBER.fullmatch(name) if number else None)
    return int(found[1]) if found else 0


def scale_of(images: Sequence[Path]) -> int:
    """The scale that all file names have; 0 where they have none, or not the same."""
    scales = {parse_stem(path.stem).scale for path in images}
    return scales.pop() if len(scales) == 1 else 0
