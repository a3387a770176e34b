"""Upscaling images with a trained generator. Imports no torch until torch weights are opened."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from srkd import resample
from srkd.catalog import find_weights, list_shipped
from srkd.errors import SrkdError, UsageError
from srkd.files import console, track
from srkd.images import SUFFIXES, list_images, read_image_alpha, write_image
from srkd.onnx_models import FOREIGN_RADIUS, open_onnx

Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Upscaler:
    """A generator ready to run, on whichever runtime.

    Args:
        name: for tables and messages.
        scale: its factor.
        radius: LR pixels around an output pixel that it depends on, which tiles must overlap by.
        run: maps float32 `(1, 3, H, W)` in [0, 1] to `(1, 3, scale*H, scale*W)`; None for bicubic.
    """

    name: str
    scale: int
    radius: int
    run: Callable[[np.ndarray], np.ndarray] | None

    def __call__(self, image: np.ndarray, tile: int = 0) -> np.ndarray:
        """Upscales `(H, W, 3)` uint8 to `(scale*H, scale*W, 3)` uint8.

        Args:
            image: the LR image.
            tile: side of the tiles in LR pixels; the whole image at once when 0. Tiles overlap by the
                receptive field, so the result is that of the whole image.
        """
        if self.run is None:
            return resample.upscale_bicubic(image, self.scale)
        result = np.empty((image.shape[0] * self.scale, image.shape[1] * self.scale, 3), np.uint8)
        for place, part in self.tiles(image, tile):
            np.copyto(result[place], np.rint(part.clip(0, 1) * 255), casting="unsafe")
        return result

    def tiles(self, image: np.ndarray, tile: int = 0) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Yields the parts of the enlarged image, float32 about [0, 1], each with its place."""
        assert self.run is not None
        height, width = image.shape[:2]
        tile = tile or max(height, width)
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                bottom, right = min(top + tile, height), min(left + tile, width)
                # With its surroundings, which are cut off again; the image's own border is left to the
                # network's padding, as without tiles.
                y0, x0 = max(top - self.radius, 0), max(left - self.radius, 0)
                window = image[y0 : bottom + self.radius, x0 : right + self.radius]
                batch = np.ascontiguousarray(window.transpose(2, 0, 1)[None], dtype=np.float32) / 255
                sr = self.run(batch)[0].transpose(1, 2, 0)
                y, x = (top - y0) * self.scale, (left - x0) * self.scale
                inner = sr[y : y + (bottom - top) * self.scale, x : x + (right - left) * self.scale]
                rows = slice(top * self.scale, bottom * self.scale)
                yield (rows, slice(left * self.scale, right * self.scale)), inner


def open_upscaler(weights: str | Path, device: Device = "auto", scale: int = 4) -> Upscaler:
    """Opens weights for inference.

    Args:
        weights: `bicubic`; an ONNX file, run by ONNX Runtime; any other weights that `load_generator` takes,
            run by torch.
        device: where torch runs; `auto` takes CUDA or MPS when there.
        scale: of bicubic, which has none of its own.

    Raises:
        UsageError: no such file or name, or an ONNX file that does not enlarge RGB images.
        SrkdError: the file is damaged.
    """
    if str(weights) == "bicubic":
        return Upscaler("bicubic", scale, 0, None)
    path = find_weights(weights)
    if path.suffix == ".onnx":
        model = open_onnx(path)
        return Upscaler(model.name, model.scale, model.radius, model.run)
    return _open_torch(path, device)


def _open_torch(path: Path, device: Device) -> Upscaler:
    import torch

    from srkd.weights import load_generator

    model: Any = load_generator(path)
    if device == "auto":
        device = (
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        model = model.to(device, memory_format=torch.channels_last)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"cannot run on {device}: {_first_line(error)}") from error

    @torch.inference_mode()
    def run(batch: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(batch).to(device)).float().cpu().numpy()

    return Upscaler(path.stem, model.scale, getattr(model, "radius", FOREIGN_RADIUS), run)


def upscale(
    image: str,
    out: str,
    *,
    weights: str | None = None,
    tile: int = 256,
    device: Device = "auto",
    overwrite: bool = False,
) -> list[Path]:
    """Upscale an image, or every image of a folder.

    Args:
        image: an image file, or a folder of them.
        out: the file to write, or a folder (where names are kept, as PNG unless JPEG or WebP).
        weights: a weights file or shipped name; the default shipped one when not given.
        tile: side of the tiles in LR pixels, which bounds the memory used; 0 for the whole image at once.
        device: where torch weights run.
        overwrite: replace files that exist.

    Returns:
        The files written.

    Raises:
        UsageError: no such image, folder or weights, or an output that exists.
        SrkdError: some image could not be read or written; the others are done.
    """
    if tile < 0:
        raise UsageError(f"--tile must not be negative, not {tile}")
    source, target = Path(image), Path(out)
    sources = list_images(source) if source.is_dir() else [source]
    if not source.exists():
        raise UsageError(f"there is no image or folder {source}")
    to_file = not source.is_dir() and target.suffix != "" and not target.is_dir()
    if to_file and target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"cannot write {target}: its name must end in one of {', '.join(SUFFIXES)}")
    targets = [target] if to_file else [target / _name(path) for path in sources]
    if not to_file and target.is_file():
        raise UsageError(f"{target} is a file; give -o a folder, or a name ending in {', '.join(SUFFIXES)}")
    twice = {path for path in targets if targets.count(path) > 1}
    if twice:
        raise UsageError(f"two images would both be written to {min(twice)}; rename one of them")
    existing = [path for path in targets if path.exists()]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists; replace it with --overwrite, or choose another -o")
    model = open_upscaler(weights or _default_weights(), device)
    failures = []
    pairs = list(zip(sources, targets, strict=True))
    for path, destination in track(pairs, "upscaling", len(pairs)):
        try:
            pixels, alpha = read_image_alpha(path)
            enlarged = None if alpha is None else resample.upscale_bicubic(alpha, model.scale)
            write_image(destination, model(pixels, tile), enlarged)
        except SrkdError as error:
            if len(pairs) == 1:
                raise
            failures.append(str(error))
    done = len(pairs) - len(failures)
    console.print(f"upscaled {done} image{'s' * (done != 1)} x{model.scale} with {model.name} -> {target}")
    if failures:
        raise SrkdError(f"{len(failures)} of {len(pairs)} images failed: {'; '.join(failures)}")
    return targets


def _name(path: Path) -> str:
    return path.name if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp") else f"{path.stem}.png"


def _default_weights() -> str:
    for name, entry in list_shipped().items():
        if entry.get("default"):
            return name
    raise UsageError("no default weights are installed; give --weights FILE (srkd quickstart makes some)")


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
