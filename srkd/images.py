"""Image files to arrays and back."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from srkd.errors import SrkdError, UsageError
from srkd.files import replacing

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def list_images(folder: str | Path) -> list[Path]:
    """The image files directly in a folder, by name.

    Raises:
        UsageError: the folder does not exist, is a file, or holds no image.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UsageError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; give the folder that holds the images")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise UsageError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    return found


def read_image(path: str | Path) -> np.ndarray:
    """Reads a photograph as `(H, W, 3)` uint8 RGB, EXIF orientation applied.

    Gray, palette and CMYK images become RGB; 16-bit gray is scaled to 8 bit; an alpha channel is dropped.

    Raises:
        UsageError: there is no such file.
        SrkdError: the file is not an image that Pillow reads, is damaged, or is too large to be decoded
            safely.
    """
    return read_image_alpha(path)[0]


def read_image_alpha(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Like `read_image`, with the alpha channel `(H, W)` uint8 beside it (None where there is none)."""
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file)
                if image.mode.startswith(("I", "F")):
                    values = np.asarray(image, dtype=np.float64)
                    depth = 255 if values.max(initial=0) <= 255 else 65535
                    gray = np.clip(np.round(values * (255 / depth)), 0, 255).astype(np.uint8)
                    return np.repeat(gray[..., None], 3, axis=2), None
                alpha = None
                if image.has_transparency_data:
                    image = image.convert("RGBA")
                    alpha = np.array(image.getchannel("A"))
                return np.array(image.convert("RGB")), alpha
    except UnidentifiedImageError as error:
        raise SrkdError(f"{path} is not an image that can be read (is it really {path.suffix}?)") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SrkdError(f"{path} is too large to decode safely: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise SrkdError(f"{path} is damaged: {error}") from error


def write_image(path: str | Path, image: np.ndarray, alpha: np.ndarray | None = None) -> None:
    """Writes `(H, W, 3)` uint8 RGB, and `(H, W)` alpha if given, in the format of the file's suffix.

    Raises:
        UsageError: the suffix names no image format.
        SrkdError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"cannot write {path}: its name must end in one of {', '.join(SUFFIXES)}")
    if alpha is not None and path.suffix.lower() not in (".jpg", ".jpeg", ".bmp"):
        image = np.dstack([image, alpha])
    with replacing(path) as temporary:
        # Formats without a quality ignore it.
        Image.fromarray(image).save(temporary, quality=95)
