"""A sheet of crops: a line of pictures for each case, titled and labelled."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONT, SPACE = 13, 4
# Height of a line's title and of the labels under it.
ROOM = 2 * (FONT + 4)


class Line(NamedTuple):
    """Pictures by label, all of one size; None is left blank."""

    title: str
    pictures: Mapping[str, np.ndarray | None]


class Place(NamedTuple):
    """The top left corner of a picture on the sheet; its label stands right above."""

    left: int
    top: int


def lay_out(lines: int, columns: int, side: int) -> tuple[tuple[int, int], list[list[Place]]]:
    """The sheet's width and height, and the places of its pictures by line and column."""
    height = ROOM + side + SPACE
    places = [
        [Place(column * (side + SPACE), line * height + ROOM) for column in range(columns)]
        for line in range(lines)
    ]
    return (columns * (side + SPACE) - SPACE, lines * height), places


def paint(lines: Sequence[Line], side: int) -> Image.Image:
    """Draws the sheet; pictures are `(side, side, 3)` uint8."""
    columns = list(dict.fromkeys(label for line in lines for label in line.pictures))
    size, places = lay_out(len(lines), len(columns), side)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for line, row in zip(lines, places, strict=True):
        draw.text((0, row[0].top - ROOM), shorten(line.title, size[0], font), "black", font)
        for label, place in zip(columns, row, strict=True):
            picture = line.pictures.get(label)
            if picture is not None:
                draw.text((place.left, place.top - ROOM // 2), shorten(label, side, font), "#555555", font)
                sheet.paste(Image.fromarray(picture), place)
    return sheet


def shorten(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """A text that fits into a width, cut where it does not."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def find_window(image: np.ndarray, side: int, step: int) -> tuple[int, int]:
    """Top and left of the square window with the most detail: the greatest sum of absolute differences
    between neighbouring pixels, each counted up to 32 levels, so that one hard edge does not decide.

    Args:
        image: `(H, W, 3)` uint8, at least `side` high and wide.
        side: of the window.
        step: what top and left are multiples of.
    """
    gray = image.astype(np.float64).mean(axis=2)
    detail = np.zeros_like(gray)
    detail[1:] += np.minimum(np.abs(np.diff(gray, axis=0)), 32)
    detail[:, 1:] += np.minimum(np.abs(np.diff(gray, axis=1)), 32)
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    totals = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    coarse = totals[::step, ::step]
    row, column = np.unravel_index(int(coarse.argmax()), coarse.shape)
    return int(row) * step, int(column) * step
