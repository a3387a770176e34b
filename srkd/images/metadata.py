"""What a photograph's file says about it, made fit for the enlarged one."""

import io
import struct
import zlib

from PIL import ExifTags, Image, ImageCms

# Tags of the first directory that describe the file's own layout and not the photograph: all but names,
# dates, camera and rights. The orientation is applied to the pixels.
_LAYOUT_TAGS = {254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 296, 301, 317}
_LAYOUT_TAGS |= {318, 319, 320, 322, 323, 324, 325, 330, 338, 339, 347, 513, 514, 529, 530, 531, 532}
_LAYOUT_TAGS |= {700, 33723, 34377, 34675}


def cmyk_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """CMYK as sRGB, by its profile where it has one that is sound."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")


def clean_exif(exif: Image.Exif) -> bytes | None:
    """An EXIF block without what describes the old file's layout."""
    if not exif:
        return None
    try:
        for tag in _LAYOUT_TAGS & set(exif):
            del exif[tag]
        details = exif.get_ifd(ExifTags.IFD.Exif)
        for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight):
            details.pop(tag, None)
        return exif.tobytes() if len(exif) else None
    except Exception:  # of a damaged block, which is no reason to refuse the photograph
        return None


def first_directory(block: bytes) -> Image.Exif:
    """Names, dates, camera and rights: all that Pillow and tifffile write into compressed TIFFs."""
    exif = Image.Exif()
    exif.load(block)
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop):
        if tag in exif:
            del exif[tag]
    return exif


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
