"""Pairs of HR and LR images that lie side by side in one folder, told apart by their names."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from srkd.data.names import Stem, parse_stem
from srkd.errors import UsageError
from srkd.images.folders import Found

Pairs = list[tuple[Path, Path]]


def find_beside(found: Found, scale: int) -> Pairs | None:
    """Pairs of HR and LR images that lie in the same folders; None where no image is named as LR of another.

    Images of other scales, and other versions of paired images, are taken out of `found` and counted.

    Raises:
        UsageError: LR images without HR, HR images without LR beside others that have it, or with several.
    """
    groups: dict[tuple[Path, str], list[tuple[Path, Stem]]] = defaultdict(list)
    for path in found.images:
        stem = parse_stem(path.stem)
        groups[path.parent, stem.base].append((path, stem))
    pairs: Pairs = []
    prefixes: set[tuple[Path, str]] = set()
    lonely, others, other_scales = [], [], Counter[int]()
    for members in groups.values():
        hr = [path for path, stem in members if stem.kind == "HR" or not (stem.kind or stem.scale)]
        lr = [
            (path, stem)
            for path, stem in members
            if stem.kind == "LR" or (not stem.kind and stem.scale and hr)
        ]
        if not lr:
            lonely += [path for path, _ in members]
            continue
        if not hr:
            raise UsageError(f"{lr[0][0]} is named as an LR image, and no HR image lies beside it")
        prefixes |= {(path.parent, stem.prefix) for path, stem in members}
        fitting = [path for path, stem in lr if stem.scale in (0, scale)]
        if not fitting:
            others += [path for path, _ in members]
            other_scales.update(stem.scale for _, stem in lr)
            continue
        if len(hr) > 1 or len(fitting) > 1:
            names = " and ".join(path.name for path in (hr if len(hr) > 1 else fitting))
            raise UsageError(f"{names} in {hr[0].parent} have one counterpart; which is meant is unclear")
        pairs.append((hr[0], fitting[0]))
        others += [path for path, _ in members if path not in (hr[0], fitting[0])]
    if not prefixes:
        return None
    if not pairs:
        scales = " and ".join(f"x{factor}" for factor in sorted(other_scales))
        raise UsageError(f"{found.root} has LR images for {scales} beside HR images, none for x{scale}")
    versions = {path for path in lonely if any((path.parent, x) in prefixes for x in _starts(path.stem))}
    for path in lonely:
        if path not in versions:
            raise UsageError(
                f"{path} has no LR image beside it, as {pairs[0][0]} has ({pairs[0][1].name}); keep pairs "
                "and other images in folders of their own"
            )
    _check_parts([hr for hr, _ in pairs], found.root)
    found.leave_out("image{s} for other scales", set(others))
    found.leave_out("other version{s} of the same images", versions)
    return pairs


def _check_parts(paths: Iterable[Path], root: Path) -> None:
    """Raises UsageError where images for training and for testing would be mixed."""
    parts = {part for path in paths for part in path.relative_to(root).parts[:-1]}
    train = sorted(part for part in parts if re.fullmatch(r"train(ing)?", part, re.I))
    test = sorted(part for part in parts if re.fullmatch(r"test(ing)?|val(id(ation)?)?", part, re.I))
    if train and test:
        raise UsageError(f"{root} holds both {train[0]} and {test[0]}; name one of the folders")


def _starts(stem: str) -> list[str]:
    return [stem[: mark.start()] for mark in re.finditer(r"[ _.-]", stem)]
