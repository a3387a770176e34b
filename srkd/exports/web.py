"""A static page that upscales in the browser: networks, ONNX Runtime Web, and the files in web/. Imports no
torch but to convert weights."""

import base64
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from platformdirs import user_cache_path

from srkd import __version__
from srkd.errors import SrkdError, UsageError, first_line
from srkd.files import StrPath, explain_write_error, is_file, is_folder, replacing, write_text
from srkd.runtimes.onnxruntime import read_facts
from srkd.runtimes.runner import OVERHEAD, UNKNOWN_MEMORY
from srkd.terminal import say
from srkd.weights.catalogue import find_onnx, find_weights, list_shipped

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# Of the package's archive, as npm's registry states it (`npm view onnxruntime-web dist.integrity`).
_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
# WASM alone, and WebGPU with the WASM that it needs, of which a browser loads one.
_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
_REGISTRY = "https://registry.npmjs.org"
_ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
# Memory that a tile may take in a browser, and the sides that it may have, in LR pixels.
_BUDGET, _SMALLEST, _LARGEST = 192 * 2**20, 64, 256


def write_site(weights: Sequence[StrPath], folder: Path, runtime: StrPath | None = None) -> None:
    """Writes a folder that any web server can serve; it appears whole or not at all.

    Args:
        weights: weights files or shipped names, which the page offers in this order.
        folder: a new or empty one.
        runtime: ONNX Runtime Web: its archive, or the folder of the unpacked package. Downloaded once from
            npm's registry, and kept in the user's cache, when not given.

    Raises:
        UsageError: no such weights or runtime, weights of a runtime of their own, or a folder with files.
        SrkdError: the runtime cannot be downloaded, or the folder not be written.
    """
    check_site(folder)
    # Whatever is wrong with the weights is told before anything is downloaded.
    named = _name([find_weights(w) for w in weights], weights)
    runtime_files = find_runtime(runtime)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".srkd-", dir=folder) as place:
            draft = Path(place)
            for source in (Path(__file__).parent / "web").iterdir():
                shutil.copyfile(source, draft / source.name)
            for part in ("ort", "models"):
                (draft / part).mkdir()
            for name, content in runtime_files.items():
                (draft / "ort" / name).write_bytes(content)
            models = [_add_model(name, given, draft / "models") for name, given in named.items()]
            text = json.dumps({"srkd": __version__, "models": models}, indent=1)
            write_text(draft / "models.json", text + "\n")
            # What opens the page comes last: where it is, the rest is there.
            for part in sorted(draft.iterdir(), key=lambda path: path.name == "index.html"):
                part.replace(folder / part.name)
    except OSError as error:
        raise explain_write_error(folder, error) from error


def check_site(folder: Path) -> None:
    """Raises UsageError unless a folder is new or empty."""
    if folder.exists() and not (is_folder(folder) and not any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder; choose another --out")


def _name(paths: Sequence[Path], weights: Sequence[StrPath]) -> dict[str, StrPath]:
    """Weights by their names; runs' weights, which have the same, by their folders' too."""
    named: dict[str, StrPath] = {}
    stems = [path.stem for path in paths]
    for path, given in zip(paths, weights, strict=True):
        name = path.stem if stems.count(path.stem) == 1 else f"{path.resolve().parent.name}_{path.stem}"
        if name in named:
            raise UsageError(f"{named[name]} and {given} have the same name; rename one, or give it once")
        named[name] = given
    return named


def _add_model(name: str, weights: StrPath, folder: Path) -> dict[str, Any]:
    """Adds a network as an ONNX file of any size, which the page fixes; returns what the page is told."""
    target, path, entry = folder / f"{name}.onnx", find_weights(weights), list_shipped().get(str(weights), {})
    ready = find_onnx(weights)
    if ready is not None:
        shutil.copyfile(ready, target)
    else:
        from srkd.exports.writing import write_onnx
        from srkd.weights.store import load_generator

        model = load_generator(path)
        say(f"converting {path.name} to ONNX")
        write_onnx(model, target, **{key: entry[key] for key in ("license",) if key in entry})
    facts = read_facts(target)
    if not facts:
        raise UsageError(f"{path} was not exported by srkd, so its scale and receptive field are unknown")
    return {
        "name": name,
        "file": target.name,
        "scale": facts["scale"],
        "radius": facts["radius"],
        "exact": facts.get("exact") is not False,
        "tile": choose_tile(facts["radius"], facts.get("memory", UNKNOWN_MEMORY)),
        "license": entry.get("license") or facts.get("license", "unknown"),
        "use": entry.get("use", ""),
    }


def choose_tile(radius: int, memory: float) -> int:
    """The side of the tiles in LR pixels, their overlap included, for a network of that receptive field that
    takes as many bytes for each."""
    side = int((_BUDGET / (OVERHEAD * memory)) ** 0.5) // 16 * 16
    # Tiles much smaller than their overlap would compute everything several times.
    return max(4 * radius, _SMALLEST, min(side, _LARGEST))


def find_runtime(given: StrPath | None = None) -> dict[str, bytes]:
    """The files of ONNX Runtime Web.

    Args:
        given: as for `write_site`. An archive must have the pinned checksum, a folder the pinned version.

    Raises:
        UsageError: what is given is another package or version.
        SrkdError: it cannot be downloaded.
    """
    if given is not None and is_folder(given):
        return _read_folder(Path(given))
    if given is not None:
        if not is_file(given):
            raise UsageError(f"--runtime {given}: there is no such file or folder; {_advise()}")
        content = Path(given).read_bytes()
        if not _is_pinned(content):
            raise UsageError(f"{given} is not {_ARCHIVE} of npm (its SHA-512 is another); {_advise()}")
        return _unpack(content)
    cached = user_cache_path("srkd") / "npm" / _ARCHIVE
    if is_file(cached) and _is_pinned(content := cached.read_bytes()):
        return _unpack(content)
    content = _download()
    try:
        with replacing(cached) as draft:
            draft.write_bytes(content)
    except SrkdError as error:
        say(f"{error}; {PACKAGE} is not kept for the next time")
    return _unpack(content)


def _download() -> bytes:
    # npm takes its options from the environment in small and in capital letters.
    given = {name.lower(): value for name, value in os.environ.items() if value}
    registry = given.get("npm_config_registry", _REGISTRY)
    url = f"{registry.rstrip('/')}/{PACKAGE}/-/{_ARCHIVE}"
    say(f"downloading {PACKAGE} {VERSION} (33 MB), once")
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            content = answer.read()
    except (OSError, ValueError) as error:
        raise SrkdError(f"cannot download {PACKAGE} ({first_line(error)}); {_advise()}") from error
    if not _is_pinned(content):
        raise SrkdError(f"what the npm registry gives for {_ARCHIVE} has another SHA-512; {_advise()}")
    return content


def _advise() -> str:
    return f"get it with: npm pack {PACKAGE}@{VERSION}, and give --runtime {_ARCHIVE}"


def _is_pinned(content: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(content).digest()).decode("ascii") == _SHA512


def _unpack(content: bytes) -> dict[str, bytes]:
    """The files that the page needs, of an archive whose checksum is right."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path.parent == PurePosixPath("package/dist") and path.name in _FILES:
                file = archive.extractfile(member)
                assert file is not None
                found[path.name] = file.read()
    return found


def _read_folder(folder: Path) -> dict[str, bytes]:
    try:
        about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        if (about["name"], about["version"]) != (PACKAGE, VERSION):
            raise UsageError(
                f"{folder} holds {about['name']} {about['version']}, not {PACKAGE} {VERSION}; {_advise()}"
            )
        return {name: (folder / "dist" / name).read_bytes() for name in _FILES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{folder} is not an unpacked {PACKAGE} ({first_line(error)}); {_advise()}"
        ) from error
