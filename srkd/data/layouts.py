"""Which images of a folder are HR and which are LR, by the names that public data sets have.

Known are HR and LR folders side by side, whatever stands around these letters (`HR` and `LR_bicubic/X4`,
`DIV2K_valid_HR` and `DIV2K_valid_LR_unknown/X4`, BasicSR's `GTmod12` and `LRbicx4`, KAIR's `trainH` and
`trainL`), HR images with an LR folder among them, and pairs in one folder (RealSR's `a_HR.png` and
`a_LR4.png`, SelfExSR's `a_SRF_4_HR.png` and `a_SRF_4_LR.png`, `a.png` and `ax4.png`).
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from srkd.data.beside import Pairs
from srkd.data.names import folder_scale, kind_of, parse_stem, scale_of
from srkd.errors import UsageError
from srkd.images.folders import Found


class Part(NamedTuple):
    """A folder and the images below it that belong together."""

    folder: Path
    images: list[Path]


@dataclass(frozen=True)
class Layout:
    """Folders of HR and LR images.

    Args:
        hr: the HR images.
        lr: the LR folders that may be of the scale asked for.
        others: LR folders of other scales, with these.
    """

    hr: Part
    lr: list[Part]
    others: list[tuple[Path, int]]


def find_layout(found: Found, scale: int) -> Layout | None:
    """The HR and LR folders in a folder, by their names; None where no folder has such a name.

    Images in neither are taken out of `found` and counted.

    Raises:
        UsageError: there are LR folders and no HR images, or several data sets.
    """
    roots: dict[str, dict[Path, None]] = {"HR": {}, "LR": {}}
    for folder in found.folders:
        root = _root(folder, found.root)
        if root is not None:
            roots[kind_of(root.name)][root] = None
    large, small = list(roots["HR"]), list(roots["LR"])
    homes = sorted({root.parent for root in (*large, *small)})
    if not homes:
        return None
    outside = [path for path in found.images if _root(path.parent, found.root) is None]
    if len(homes) > 1 or len(large) > 1:
        several = homes if len(homes) > 1 else large
        names = ", ".join(_relative(path, found.root) for path in several)
        raise UsageError(
            f"{found.root} holds several data sets ({names}); name one of the folders"
            + ("" if len(homes) > 1 else ", and its LR folder by --lr")
        )
    if not large and not outside:
        raise UsageError(f"{found.root} has an LR folder ({small[0].name}) but no HR folder")
    hr = _of_scale(large[0], found, scale) if large else Part(homes[0], outside)
    if large:
        found.leave_out(f"image{{s}} outside {large[0].name}", set(outside))
    lr, others = [], []
    for root in small:
        for (folder, factor), images in _split(root, found).items():
            kept = images if factor else _of_file_scale(images, scale)
            factor = factor or scale_of(kept)
            if factor in (0, scale):
                lr.append(Part(folder, kept))
            else:
                others.append((folder, factor))
    return Layout(hr, lr, others)


def find_lr(found: Found, scale: int) -> Part:
    """The images of an LR folder, of one with folders for several scales those of this scale.

    Raises:
        UsageError: it has none for this scale, or several.
    """
    parts = _split(found.root, found)
    fitting = [
        Part(folder, images)
        for (folder, factor), images in parts.items()
        if folder == found.root or factor == scale
    ]
    if len(fitting) == 1:
        return fitting[0]._replace(images=_of_file_scale(fitting[0].images, scale))
    names = ", ".join(_relative(folder, found.root) for folder, _ in fitting or parts)
    what = "several folders" if fitting else "no folder"
    raise UsageError(f"{found.root} has {what} for x{scale} ({names}); name one by --lr")


def choose_lr(layout: Layout, root: Path, scale: int) -> tuple[Pairs, Path] | None:
    """Pairs HR with the LR folder that fits, and says which it is; None where there is no LR folder.

    Raises:
        UsageError: none fits, or several do.
    """
    if not layout.lr and layout.others:
        names = ", ".join(f"{_relative(path, root)} for x{factor}" for path, factor in layout.others)
        raise UsageError(
            f"{root} has LR images of other scales ({names}), none for x{scale}; give another --scale, or "
            f"name {layout.hr.folder} alone to have LR made by bicubic"
        )
    fitting, errors = [], []
    for part in layout.lr:
        try:
            fitting.append((match(layout.hr, part), part.folder))
        except UsageError as error:
            errors.append(error)
    if len(fitting) > 1:
        names = ", ".join(_relative(folder, root) for _, folder in fitting)
        example = fitting[0][1]
        raise UsageError(
            f"{root} has several LR folders for x{scale} ({names}); choose one, as --lr {example}"
        )
    if errors and not fitting:
        raise errors[0]
    return fitting[0] if fitting else None


def match(hr: Part, lr: Part) -> Pairs:
    """Pairs images by name: whole, without suffix, then without what marks HR, LR and the scale.

    Raises:
        UsageError: an image has no counterpart, or two.
    """
    if not lr.images:
        raise UsageError(f"{lr.folder} holds no images")
    large = small = {}
    for key in (lambda path: path.name, lambda path: path.stem, lambda path: parse_stem(path.stem).base):
        large, small = (_by_key(part, key) for part in (hr, lr))
        if large.keys() == small.keys() and all(len(x) == 1 for x in (*large.values(), *small.values())):
            return [(paths[0], small[name][0]) for name, paths in large.items()]
    for name in [*large, *small]:
        if name not in large or name not in small:
            without, other = (lr, large) if name in large else (hr, small)
            raise UsageError(
                f"{without.folder} has no image named {name}, which the other folder has "
                f"({other[name][0].name})"
            )
    several = next(x for x in (*large.values(), *small.values()) if len(x) > 1)
    names = " and ".join(path.name for path in several)
    raise UsageError(f"{names} in {several[0].parent} have one counterpart; which is meant is unclear")


def _root(folder: Path, top: Path) -> Path | None:
    """The outermost folder on the way to this one whose name says HR or LR."""
    inside = folder.relative_to(top)
    for path in [*reversed(inside.parents), inside]:
        if path.name and kind_of(path.name):
            return top / path
    return None


def _split(root: Path, found: Found) -> dict[tuple[Path, int], list[Path]]:
    """The images below a root, by the folders that have a scale in their name, with this; what has none
    belongs to the root, with 0."""
    parts: dict[tuple[Path, int], list[Path]] = {}
    for folder in found.folders:
        if folder == root or root in folder.parents:
            parts.setdefault(_part_of(folder, root), [])
    for path in found.images:
        if root in path.parents:
            parts[_part_of(path.parent, root)].append(path)
    return {key: images for key, images in parts.items() if images or len(parts) == 1 or key[1]}


def _part_of(folder: Path, root: Path) -> tuple[Path, int]:
    """The outermost folder from the root to this one that has a scale in its name, and the scale."""
    inside = folder.relative_to(root)
    for path in [root, *(root / step for step in [*reversed(inside.parents), inside] if step.name)]:
        factor = folder_scale(path.name, path != root)
        if factor:
            return path, factor
    return root, 0


def _of_scale(root: Path, found: Found, scale: int) -> Part:
    """The HR images of a root, of those for several scales the ones of this scale."""
    inside = [path for path in found.images if root in path.parents]
    folders = {folder: folder_scale(folder.name, False) for folder in found.folders if root in folder.parents}
    fitting = [folder for folder, factor in folders.items() if factor == scale]
    if len(fitting) != 1:
        return Part(root, inside)
    kept = [path for path in inside if fitting[0] in path.parents]
    found.leave_out(f"HR image{{s}} outside {_relative(fitting[0], found.root)}", set(inside) - set(kept))
    return Part(fitting[0], kept)


def _of_file_scale(images: list[Path], scale: int) -> list[Path]:
    """Of images whose names have several scales, those of this one."""
    kept = [path for path in images if parse_stem(path.stem).scale in (0, scale)]
    return kept or images


def _by_key(part: Part, key: Callable[[Path], str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in part.images:
        found[(path.relative_to(part.folder).parent / key(path)).as_posix()].append(path)
    return found


def _relative(path: Path, root: Path) -> str:
    return PurePath(path.relative_to(root)).as_posix() if path != root else str(root)
