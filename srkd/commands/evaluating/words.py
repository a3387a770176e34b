"""What the words of `srkd evaluate` name: weights, folders of SR images, benchmarks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from srkd import metrics
from srkd.errors import UsageError, choose
from srkd.files import StrPath, check_path, describe_type
from srkd.runtimes.runner import Runner
from srkd.stores import is_remote
from srkd.upscaling.opening import BICUBIC, Device, open_runner
from srkd.weights.catalogue import list_shipped


class Words(NamedTuple):
    """What is scored, and on what."""

    weights: list[StrPath]
    folders: list[StrPath]
    data: list[StrPath]


def sort_words(model: Any, data: Any, sr: Any) -> Words:
    """Which words are weights, which folders of SR images, and which benchmarks.

    Raises:
        UsageError: there are no models or no benchmarks, or something else than paths.
    """
    models, sets, folders = (_as_list(name, x) for name, x in (("model", model), ("data", data), ("sr", sr)))
    names = (BICUBIC, *list_shipped())
    inner = [word for word in models if str(word) not in names and _is_folder(word)]
    if not sets and len(inner) > 1:
        raise UsageError(
            f"{' and '.join(map(str, inner))} are folders; name benchmarks by --data, and folders of SR "
            "images by --sr"
        )
    if not sets and (len(models) > 1 or (models and folders)) and str(models[-1]) not in names:
        sets, inner = [models.pop()], []
    if sets and not models and not folders and len(sets) > 1:
        # As in `--data Set5/ bicubic`.
        models = [word for word in sets if str(word) != "embedded" and not _is_folder(word)]
        sets = [word for word in sets if word not in models]
    for name, found in (("MODEL", [*models, *folders]), ("DATA", sets)):
        if not found:
            raise UsageError(f"{name} is missing; see srkd evaluate --help")
    return Words([word for word in models if word not in inner], [*inner, *folders], sets)


def _is_folder(word: StrPath) -> bool:
    """Whether a word may name images; weights are local."""
    return is_remote(word) or Path(word).is_dir()


def _as_list(name: str, value: Any) -> list[StrPath]:
    values = [value] if isinstance(value, str | Path) else [] if value is None else value
    if not isinstance(values, list | tuple):
        check_path(name, value)
    for one in values:
        check_path(name, one)
    return list(values)


def check_options(
    words: Words, files: Mapping[str, Any], lr: Any, protocol: Any, lpips: Any, scale: Any
) -> None:
    """Raises UsageError where options are of a wrong kind, or do not go together."""
    for name, value in {**files, "lr": lr}.items():
        if value is not None:
            check_path(name, value)
    for name, text in (("protocol", protocol), ("lpips", lpips)):
        if not isinstance(text, str):
            raise UsageError(f"{name} must be a text, not {describe_type(text)}")
    if scale is not None and (isinstance(scale, bool) or not isinstance(scale, int) or not 1 <= scale <= 64):
        raise UsageError(f"scale must be a whole number from 1 to 64, not {scale!r}")
    for variant in split_variants(lpips):
        choose("LPIPS variant", variant, (*metrics.LPIPS_VARIANTS, "none"))
    taken: dict[Path, str] = {}
    for name, file in files.items():
        if file is None:
            continue
        if Path(file).is_dir():
            raise UsageError(f"--{name} {file} is a folder; give a file")
        other = taken.setdefault(Path(file).absolute(), name)
        if other != name:
            raise UsageError(f"--{other} and --{name} name the same file {file}")
    if lr is not None and len(words.data) > 1:
        raise UsageError("--lr goes with one benchmark, not with several")
    if lr is not None and not words.weights:
        raise UsageError("SR images are compared with HR images alone; leave out --lr")


def open_runners(weights: Sequence[StrPath], device: Device, scale: int | None) -> list[Runner]:
    """Opens weights, all of one scale.

    Raises:
        UsageError: their scales differ from one another or from that asked for.
    """
    opened = {word: open_runner(word, device) for word in weights if str(word) != BICUBIC}
    wanted = next((runner.scale for runner in opened.values()), scale or 4)
    for runner in opened.values():
        if runner.scale != wanted:
            first = next(iter(opened.values()))
            raise UsageError(
                f"{first.name} is x{wanted} and {runner.name} x{runner.scale}; one table has one scale"
            )
        if scale not in (None, wanted):
            raise UsageError(f"{runner.name} is x{wanted}, not x{scale}; leave out --scale")
    return [opened.get(word) or open_runner(BICUBIC, device, wanted) for word in weights]


def name_apart(named: Sequence[Any], words: Sequence[StrPath]) -> list[str]:
    """The names of models or benchmarks, or the words as they were given where two have the same name.

    Raises:
        UsageError: two of the words are the same.
    """
    names = [one.name for one in named]
    found = names if len(set(names)) == len(names) else [str(word) for word in words]
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is named twice")
    return found


def split_variants(lpips: str) -> list[str]:
    """The names in a text of names separated by commas."""
    return [name.strip() for name in lpips.split(",")]
