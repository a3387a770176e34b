"""`srkd prepare`: a folder of photographs becomes a packed data set."""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from srkd.arguments import check_whole
from srkd.commands.preparing.teachers import Wanted, add_teacher
from srkd.data.packed import MANIFEST, is_packed
from srkd.data.packing import LR_SOURCES, pack
from srkd.data.pairs import Source, find_pairs, list_sources, name_images
from srkd.data.sets import read_hash_list
from srkd.degradation import make_degradation
from srkd.engines import Engine, open_engine
from srkd.errors import SrkdError, UsageError, choose
from srkd.files import StrPath
from srkd.remote import localised, staged
from srkd.stores import is_remote
from srkd.terminal import Progress, reports
from srkd.upscaling.opening import Precision
from srkd.weights.catalogue import find_weights

_LOCK = ".lock"


@reports
def prepare(
    data: StrPath,
    out: StrPath,
    *,
    scale: int = 4,
    lr: StrPath | None = None,
    degradation: dict[str, Any] | str = "none",
    draws: int = 1,
    seed: int = 0,
    val: StrPath | None = None,
    teacher: Sequence[StrPath] | StrPath | None = None,
    teacher_precision: Literal["uint8", "float16"] = "uint8",
    precision: Precision = "auto",
    tile: int = 0,
    clean_target: Literal["teacher", "hr"] = "teacher",
    jobs: int = 1,
    skip_bad: bool = False,
    engine: Engine = "local",
    address: str | None = None,
    dry_run: bool = False,
    verbose: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Pack photographs into a data set that training maps into memory.

    Run it again to continue after an interruption. Memory use does not grow with the number of images.

    Args:
        data: folder of HR photographs, in subfolders too (LR is made by MATLAB's bicubic), or with HR and LR
            inside (as DIV2K, BasicSR, RealSR and others have them), or `embedded`; or the URL of such a
            folder, such as s3://bucket/photos/. Tar archives by name or glob too, such as the shards of
            WebDataset, 'shards/*.tar'.
        out: folder to write; it takes about the images' width x height x 3 bytes. For a URL, the set is
            packed in the user's cache, and put there when it is whole.
        scale: the super-resolution factor, 2, 3 or 4.
        lr: folder of LR images, when it does not lie inside `data`, or is one of several.
        degradation: how LR is made of whole images, as in training: `none` for bicubic, `real`, `web`,
            `camera`, or a mapping. Training then reads the stored pairs, and needs no degradation itself.
        draws: degradations of each image; LR and the teachers' outputs are stored for each, HR once.
        seed: decides the degradations.
        val: the images to set aside for validation, a list as `sha256sum` writes it; every 40th when not
            given.
        teacher: weights whose outputs to add, in the forms of training; may be given several times. A set
            that is packed already is extended.
        teacher_precision: of the stored outputs: `uint8`, clipped and rounded, or `float16`, neither.
        precision: of a teacher that torch runs: `fp32`, `fp16`, `bf16`; `auto` is fp16 on CUDA. A CPU that
            multiplies bfloat16 is about twice as fast with `bf16`.
        tile: side in LR pixels of the tiles that a teacher works on; whole images when 0.
        clean_target: what is stored as a teacher's output where the degradation left LR clean: the teacher's,
            or `hr`, since a teacher that restores smooths what needs no restoring.
        jobs: processes that degrade; the results are the same.
        skip_bad: leave out images that cannot be read, with a note, instead of stopping.
        engine: where images are read, degraded and given to teachers: `local`, in this process, or `ray`, by
            the workers of a Ray cluster, on GPUs where it has some. This process writes the set, the same.
        address: of the Ray cluster; the RAY_ADDRESS of the environment, or one on this machine, when not
            given. Its nodes must share the folders.
        dry_run: list the pairs of HR and LR, and pack nothing.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        The manifest; with `dry_run`, `{pairs: [{hr, lr}]}`, with None for LR that would be made.

    Raises:
        UsageError: no images, no such teacher, or `out` holds something else.
        SrkdError: an image cannot be read, or the disk is full; what is packed by then is kept.
    """
    choose("scale", scale, (2, 3, 4))
    mix = make_degradation(degradation)
    _check_draws(mix is not None, lr, draws, seed)
    check_whole("jobs", jobs, 1)
    if engine == "ray" and jobs > 1:
        raise UsageError("--jobs is for one machine; Ray has as many at work as it has cores for")
    listed = read_hash_list(Path(val)) if val is not None else None
    named = [teacher] if isinstance(teacher, str | Path) else teacher or []
    asked = [Wanted(find_weights(name), teacher_precision, precision, tile, clean_target) for name in named]
    given = [data] if lr is None else [data, lr]
    with localised(given, unpack=True) as ((place, *small), _), _place(out) as folder:
        _check_folder(folder)
        files = find_pairs(place, scale, small[0] if small else None, skip_bad, only_hr=mix is not None)
        if dry_run:
            return {"pairs": list_sources(files, "degradation" if mix else "bicubic")}
        drawn = {} if mix is None else {"degradation": asdict(mix), "draws": draws, "seed": seed}
        request = {**_describe(files, scale), "val": listed, **drawn}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / _LOCK, timeout=0), open_engine(engine, address) as cluster:
                manifest = pack(folder, files, request, skip_bad, jobs, cluster)
                for one in asked:
                    manifest = add_teacher(folder, manifest, one, cluster)
                return manifest
        except Timeout:
            raise UsageError(f"another process is packing into {folder}") from None
        except OSError as error:
            raise SrkdError(
                f"cannot write into {folder}: {error.strerror}; fix that and run the same again, "
                "what is packed is kept"
            ) from error


def _place(out: StrPath) -> AbstractContextManager[Path]:
    """The folder to write: for a URL one in the user's cache, which is put there at the end."""
    if not is_remote(out):
        return nullcontext(Path(out))
    name = hashlib.sha256(str(out).encode()).hexdigest()[:16]
    return staged(str(out), user_cache_path("srkd") / "remote" / name, MANIFEST)


def _check_folder(folder: Path) -> None:
    """Raises UsageError where there is something else than a packed set."""
    if folder.is_file():
        raise UsageError(f"{folder} is a file; give a folder")
    # A process that is killed as it starts leaves a lock alone.
    others = [path for path in folder.iterdir() if path.name != _LOCK] if folder.is_dir() else []
    if others and not is_packed(folder):
        raise UsageError(f"{folder} is not empty, and is not a packed data set; give another folder")


def _check_draws(drawn: bool, lr: StrPath | None, draws: int, seed: int) -> None:
    check_whole("draws", draws, 1)
    check_whole("seed", seed, 0)
    if drawn and lr is not None:
        raise UsageError("LR comes from --lr or is made by --degradation; give one of them")
    if not drawn and draws > 1:
        raise UsageError("--draws needs a --degradation: without one all LR images would be the same")


def _describe(files: Sequence[Source], scale: int) -> dict[str, Any]:
    """What the manifest says of the files of a set."""
    found = {"format": 1, "scale": scale, "resampler": "matlab-bicubic"}
    found["sources"] = _describe_files([hr for hr, _ in files], name_images(files))
    if files[0][1]:
        small = [lr for _, lr in files if lr is not None]
        found |= {"resampler": "given", LR_SOURCES: _describe_files(small, [path.name for path in small])}
    return found


def _describe_files(paths: Sequence[Path], names: Sequence[str]) -> list[list[Any]]:
    return [[name, path.stat().st_size] for path, name in zip(paths, names, strict=True)]
