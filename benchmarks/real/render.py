"""Rendered pictures: pages of text, and screenshots with a title bar, a list, a form and a chart."""

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.documents import collect_words, fonts_folder, render

# Pixels of HR, and of HR per pixel of the screen.
SIDE, SCALE = 640, 4
# Of pages, in LR pixels: the sizes at which letters begin to be lost.
FONT_SIZES = (5, 6, 7, 8, 9)
_WORDS = (
    *("File", "Edit", "View", "Tools", "Help", "Inbox", "Drafts", "Sent", "Archive", "Reports", "Settings"),
    *("Invoices", "Photos", "Music", "Save", "Cancel", "Apply", "Name", "Size", "Date", "Total"),
)
_THEMES = (
    # Ground, panel, ink, accent.
    ("#ffffff", "#ececec", "#202020", "#1a73e8"),
    ("#1e1e1e", "#2d2d30", "#d4d4d4", "#0e639c"),
    ("#fdf6e3", "#eee8d5", "#586e75", "#cb4b16"),
)


_words = cache(collect_words)


def render_page(number: int) -> np.ndarray:
    """A page of text, `(480, 480, 3)` uint8."""
    size = FONT_SIZES[number % len(FONT_SIZES)] * SCALE
    return render(number, _words(), fonts_folder(), size)


def render_screen(number: int) -> np.ndarray:
    """A screenshot, `(640, 640, 3)` uint8; the number decides its text and colours. Lines are one pixel of
    the screen wide, letters 9 to 12 high."""
    rng = np.random.default_rng(number)
    ground, panel, ink, accent = _THEMES[number % len(_THEMES)]
    image = Image.new("RGB", (SIDE, SIDE), ground)
    draw = ImageDraw.Draw(image)
    fonts = fonts_folder()
    font = ImageFont.truetype(fonts / "DejaVuSans.ttf", int(rng.integers(9, 13)) * SCALE)
    bold = ImageFont.truetype(fonts / "DejaVuSans-Bold.ttf", 10 * SCALE)
    words = [str(word) for word in rng.permutation(_WORDS)]
    draw.rectangle((0, 0, SIDE, 71), fill=accent)
    draw.text((16, 10), f"{words[0]} {rng.integers(10, 99)}", "#ffffff", bold)
    for right in (600, 540):
        draw.rectangle((right - 24, 24, right, 48), outline="#ffffff", width=SCALE)
    draw.rectangle((0, 72, 219, SIDE), fill=panel)
    draw.line((220, 72, 220, SIDE), fill=ink, width=SCALE)
    for row, word in enumerate(words[1:8]):
        top = 92 + 72 * row
        if row == int(rng.integers(7)):
            draw.rectangle((0, top - 8, 218, top + 56), fill=accent)
        draw.text((16, top), word[:7], ink, font)
    for row, word in enumerate(words[8:11]):
        top = 92 + 72 * row
        draw.text((244, top), word[:5], ink, font)
        draw.rectangle((440, top, 616, top + 52), outline=ink, width=SCALE)
        draw.text((452, top), str(rng.integers(100, 999)), ink, font)
    _draw_chart(draw, rng, ink, accent)
    return np.asarray(image)


def _draw_chart(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: str, accent: str) -> None:
    """Bars, a curve over them, and axes."""
    heights = rng.integers(40, 220, 8)
    tops = [(268 + 44 * column, 608 - int(height)) for column, height in enumerate(heights)]
    for left, top in tops:
        draw.rectangle((left, top, left + 28, 608), fill=accent)
    draw.line([(left + 14, top - 20) for left, top in tops], fill=ink, width=SCALE)
    draw.line([(252, 350), (252, 608), (628, 608)], fill=ink, width=SCALE)
