"""Images in memory, enlarged: numpy arrays, Pillow images and torch tensors."""

import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, Unpack

import numpy as np
from PIL import Image

from srkd.errors import SrkdError, UsageError, first_line
from srkd.files import StrPath, check_path, describe_type
from srkd.images.deep import narrow
from srkd.images.photo import Photo
from srkd.images.reading import decode, split_channels
from srkd.runtimes.runner import Runner, average_flips
from srkd.terminal import silence
from srkd.upscaling.enlarge import enlarge
from srkd.upscaling.limits import check_options
from srkd.upscaling.opening import BICUBIC, RunnerOptions, default_weights, open_fastest
from srkd.upscaling.sizes import Size
from srkd.weights.catalogue import find_weights

AnyImage = TypeVar("AnyImage")


class Upscaler:
    """A network that enlarges images in memory, as `srkd upscale` enlarges files. Threads may share it.

        upscaler = srkd.Upscaler("span_s_gan")
        large = upscaler(image)

    Attributes:
        name: the weights' name.
        scale: size of the results over that of the images.
        runtime: what runs the network, and where.

    Args:
        weights: a weights file or shipped name; the default shipped one when not given; `bicubic`.
        scale: size of the results over that of the images; the weights' own when not given. Others are
            reached by resampling the network's output (Lanczos).
        tile: side of the tiles in LR pixels, 0 for the whole image at once; by free memory when not given.
        tta: average over the eight flips and rotations, which takes eight times as long.
        options: how the network is run: `backend`, `device`, `precision`, `threads`, `sharpness`, described
            at srkd.upscaling.opening.RunnerOptions.

    Raises:
        UsageError: no such weights, device or backend, or an option out of range.
        SrkdError: the weights are damaged.
    """

    def __init__(
        self,
        weights: StrPath | None = None,
        *,
        scale: float | None = None,
        tile: int | None = None,
        tta: bool = False,
        **options: Unpack[RunnerOptions],
    ):
        check_options(scale=scale, tile=tile)
        with silence():
            model = open_fastest(weights, scale, **options)
        self.name, self.runtime = model.name, model.runtime
        self.scale = float(scale or model.scale)
        self._model = average_flips(model) if tta else model
        self._tile = tile

    def __call__(self, image: AnyImage) -> AnyImage:
        """Enlarges an image. Alpha and gray are kept as `srkd upscale` keeps them.

        Args:
            image: a numpy array `(H, W)` or `(H, W, C)` of 1, 2 (gray and alpha), 3 or 4 (RGB and alpha)
                channels, uint8, uint16 or floating point in [0, 1]; a Pillow image; or a torch tensor
                `(3, H, W)` or `(N, 3, H, W)`, uint8 or floating point in [0, 1].

        Returns:
            The same kind of image: arrays and tensors of the same type and number of channels, tensors on
            the same device and without gradient; Pillow images of the same mode, but L for 1, RGB for CMYK
            and other colour spaces, and RGB or RGBA for palettes. EXIF's orientation is not applied.

        Raises:
            UsageError: something else, or values outside [0, 1].
            SrkdError: memory does not suffice.
        """
        return upscale_in_memory(self._model, image, self.scale, self._tile)

    def __repr__(self) -> str:
        return f"Upscaler({self.name!r}, scale={self.scale:g}, runtime={self.runtime!r})"


def upscale_image(
    image: AnyImage,
    weights: StrPath | None = None,
    *,
    scale: float | None = None,
    tile: int | None = None,
    tta: bool = False,
    **options: Unpack[RunnerOptions],
) -> AnyImage:
    """Enlarges an image in memory, a numpy array, a Pillow image or a torch tensor, into another of its kind.

        large = srkd.upscale_image(image)

    The networks of the last four calls stay open, so that the next call starts at once; changed files are
    opened again. Threads may call it at once. The image is described at `Upscaler.__call__`, the options at
    `Upscaler`; for files there is `srkd.upscale`.

    Raises:
        UsageError: no such weights, device or backend, an option out of range, or not an image.
        SrkdError: the weights are damaged, or memory does not suffice.
    """
    check_options(scale=scale, tile=tile, threads=options.get("threads"), sharpness=options.get("sharpness"))
    weights = weights or default_weights()
    check_path("weights", weights)
    # Bicubic has no scale but the one that is asked for; networks are the same for every scale.
    bicubic = str(weights) == BICUBIC
    facts = None if bicubic else find_weights(weights).resolve().stat()
    version = (scale,) if bicubic or facts is None else (facts.st_mtime_ns, facts.st_size)
    with _opening, silence():
        model = _open_once(str(weights), version, **options)
    return upscale_in_memory(average_flips(model) if tta else model, image, scale or model.scale, tile)


_opening = threading.Lock()


@lru_cache(maxsize=4)
def _open_once(weights: str, version: tuple[Any, ...], **options: Unpack[RunnerOptions]) -> Runner:
    """Opens weights; `version` is the scale of bicubic, or tells a changed file from what is open."""
    return open_fastest(weights, version[0] if weights == BICUBIC else None, **options)


def upscale_in_memory(model: Runner, image: AnyImage, scale: float, tile: int | None) -> AnyImage:
    """Enlarges what `Upscaler.__call__` takes, and raises what it raises."""
    torch = sys.modules.get("torch")
    try:
        with silence():
            if torch is not None and isinstance(image, torch.Tensor):
                return _enlarge_tensor(torch, model, image, scale, tile)
            photo, give_back = _take(image)
            return give_back(enlarge(model, photo, size=Size(scale), tile=tile))
    except MemoryError as error:
        raise SrkdError("the enlarged image does not fit into memory") from error


# What enlarges into, a Pillow image or an array, to what the caller gave.
_GiveBack = Callable[[Any], Any]


def _take(image: Any) -> tuple[Photo, _GiveBack]:
    if isinstance(image, np.ndarray):
        return _take_array(np.asarray(image))
    if isinstance(image, Image.Image):
        return _take_pillow(image)
    if isinstance(image, str | Path):
        raise UsageError(f"{image} is a path, not an image; for files call srkd.upscale(images, out)")
    raise UsageError(
        f"an image is a numpy array, a Pillow image or a torch tensor, not {describe_type(image)}"
    )


def _take_array(image: np.ndarray) -> tuple[Photo, _GiveBack]:
    shape = " x ".join(map(str, image.shape)) or "no size"
    if image.ndim not in (2, 3) or image.size == 0:
        raise UsageError(f"an array must be (H, W) or (H, W, C) and not empty; this one is {shape}")
    if image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4):
        hint = "; transpose(1, 2, 0) puts them last" if image.shape[0] in (1, 3, 4) else ""
        raise UsageError(f"an array has its 1 to 4 channels last; this one is {shape}{hint}")
    if image.dtype.kind == "f":
        _check_range(float(image.min()), float(image.max()))
        values = image.astype(np.float32).clip(0, 1)
    elif image.dtype.kind == "u" and image.dtype.itemsize <= 2:
        values = image.astype(image.dtype.newbyteorder("="), copy=False)
    else:
        raise UsageError(f"an array must be uint8, uint16 or floating point in [0, 1], not {image.dtype}")

    def give_back(picture: Any) -> np.ndarray:
        result = np.array(picture)
        return (result[..., None] if image.ndim > result.ndim else result).astype(image.dtype, copy=False)

    return Photo(*split_channels(values)), give_back


def _take_pillow(image: Image.Image) -> tuple[Photo, _GiveBack]:
    if image.mode == "F":
        raise UsageError("an image of mode F has no known white; give an array in [0, 1]")
    if 0 in image.size:
        raise UsageError(f"the image is empty: {image.width}x{image.height}")
    try:
        values = narrow(np.asarray(image), "the image") if image.mode.startswith("I") else decode(image)
    except (SrkdError, MemoryError):
        raise
    except Exception as error:  # an open file may be closed or damaged, in as many ways as there are formats
        raise SrkdError(f"the image cannot be read: {first_line(error)}") from error
    kept = {key: image.info[key] for key in ("icc_profile", "dpi") if key in image.info}
    if image.mode == "CMYK":
        kept.pop("icc_profile", None)

    def give_back(picture: Any) -> Image.Image:
        if isinstance(picture, np.ndarray):
            picture = Image.fromarray(picture.astype(np.int32) if image.mode == "I" else picture)
        picture.info.update(kept)
        return picture

    return Photo(*split_channels(values)), give_back


def _enlarge_tensor(torch: Any, model: Runner, image: Any, scale: float, tile: int | None) -> Any:
    shape = " x ".join(map(str, image.shape)) or "no size"
    if image.ndim not in (3, 4) or image.shape[-3] != 3 or 0 in image.shape[-2:]:
        raise UsageError(f"a tensor must be (3, H, W) or (N, 3, H, W) and not empty; this one is {shape}")
    if not (image.dtype == torch.uint8 or image.dtype.is_floating_point):
        raise UsageError(f"a tensor must be uint8 or floating point in [0, 1], not {image.dtype}")
    batch = (image if image.ndim == 4 else image[None]).detach()
    if image.dtype.is_floating_point:
        batch = batch.float()
        if len(batch):
            _check_range(float(batch.min()), float(batch.max()))
        batch = batch.clamp(0, 1)
    arrays = batch.permute(0, 2, 3, 1).cpu().numpy()
    photos = [Photo(np.ascontiguousarray(array)) for array in arrays]
    made = [np.array(enlarge(model, photo, size=Size(scale), tile=tile)) for photo in photos]
    if not made:
        size = [max(1, round(side * scale)) for side in image.shape[-2:]]
        return image.new_empty((0, 3, *size))
    result = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).contiguous().to(image.device, image.dtype)
    return result if image.ndim == 4 else result[0]


def _check_range(least: float, greatest: float) -> None:
    """Raises UsageError where values are further outside [0, 1] than rounding leaves them."""
    if not (least >= -1e-3 and greatest <= 1 + 1e-3):
        hint = "; divide by 255" if 2 < greatest <= 255 and least >= 0 else ""
        raise UsageError(
            f"floating-point images are in [0, 1]; this one reaches from {least:g} to {greatest:g}{hint}"
        )
