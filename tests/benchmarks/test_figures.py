"""Figures in README.md, benchmarks/README.md and the cards are those of the committed files."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, load_script

from srkd.images.reading import read_image
from srkd.images.writing import write_image
from srkd.weights.catalogue import shipped_folder

figures = load_script("benchmarks/figures.py")
middle = load_script("benchmarks/middle.py")
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in figures.TABLES}


def test_tables_and_cards_are_what_the_files_say():
    assert figures.find_errors(TEXTS) == []
    assert figures.find_card_errors(shipped_folder()) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("31.54 dB, 0.131", "31.55 dB, 0.131"),
        ("-0.83 ± 0.34 dB", "-0.83 ± 0.24 dB"),
        ("0.93 (0.93 to 1.03)", "0.94 (0.93 to 1.03)"),
        ("| 61 (56 to 67) |", "| 62 (56 to 67) |"),
        ("| 58 % |", "| 59 % |"),
        ("117.7", "17.7"),
    ],
)
def test_a_wrong_digit_is_found(old, new):
    text = TEXTS["benchmarks/README.md"]
    errors = figures.find_errors({**TEXTS, "benchmarks/README.md": text.replace(old, new)})
    assert errors and all(error.startswith("benchmarks/README.md") for error in errors)


def test_a_wrong_score_in_a_card_is_found(tmp_path):
    for card in shipped_folder().glob("*.md"):
        shutil.copy(card, tmp_path)
    card = tmp_path / "span_s_gan.md"
    right = re.search(r"\| Set5 \|.*?(0\.\d{4})", card.read_text())
    assert right
    card.write_text(card.read_text().replace(right[1], "0.0001"))
    (error,) = figures.find_card_errors(tmp_path)
    assert "span_s_gan.md, Set5" in error


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_named_beside_a_figure_is_there(name):
    """Linked files, scripts, recipes, and results in backticks."""
    folder, text = (ROOT / name).parent, TEXTS[name]
    links = re.findall(r"\]\(((?!http)[^)#]+)", text)
    scripts = re.findall(r"(?:python |compare )(benchmarks/\S+\.(?:py|yaml))", text)
    results = re.findall(r"`((?:results|scores|strategies|methods|recipe|extend)/\S*?)`", text)
    missing = [link for link in links if not (folder / link).exists()]
    missing += [path for path in scripts if not (ROOT / path).exists()]
    missing += [path for path in results if not (folder / path).exists()]
    assert links and not missing


def test_every_set_and_network_has_its_scores():
    models = [path.stem for path in shipped_folder().glob("*_*.md")]
    for model in [*models, "bicubic"]:
        for part in ("Set5", "Set14", "BSD100"):
            assert (ROOT / "benchmarks" / "scores" / f"{model}-{part}.json").is_file(), (model, part)


def test_cards_state_the_terms_of_the_images():
    for card in shipped_folder().glob("*_*.md"):
        text = card.read_text(encoding="utf-8")
        assert "BSDS500: for non-commercial research" in text and "terms of the images: unknown" not in text


def test_the_middle_of_photographs(tmp_path):
    image = np.arange(7 * 10 * 3, dtype=np.uint8).reshape(7, 10, 3)
    write_image(tmp_path / "in" / "a.png", image)
    middle.main([str(tmp_path / "in"), str(tmp_path / "out"), "--side", "4"])
    assert np.array_equal(read_image(Path(tmp_path / "out" / "a_png.png")), image[1:5, 3:7])
    assert np.array_equal(middle.cut(image, 8), image[:, 1:9])
