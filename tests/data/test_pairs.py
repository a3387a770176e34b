"""Where images lie."""

from pathlib import Path

import numpy as np
import pytest

import srkd
from srkd import UsageError
from srkd.data import find_pairs, read_pair
from srkd.images.writing import write_image


def test_layouts_of_folders(photos, tmp_path):
    """HR and LR folders, DIV2K's names, and an LR folder of its own all give the same pairs."""
    pairs = [read_pair(*source, 4) for source in find_pairs(photos)]
    layouts = {
        "plain": ("HR", "LR", ""),
        "div2k": ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X4", "x4"),
    }
    for name, (hr, lr, suffix) in layouts.items():
        for pair in pairs:
            stem = Path(pair.name).stem
            write_image(tmp_path / name / hr / f"{stem}.png", pair.hr)
            write_image(tmp_path / name / lr / f"{stem}{suffix}.png", pair.lr)
        found = [read_pair(*source, 4) for source in find_pairs(tmp_path / name, 4)]
        for a, b in zip(pairs, found, strict=True):
            np.testing.assert_array_equal(a.lr, b.lr)
    apart = find_pairs(tmp_path / "div2k" / "DIV2K_train_HR", 4, tmp_path / "plain" / "LR")
    assert [lr.parent.name for _, lr in apart] == ["LR"] * len(pairs)
    manifest = srkd.prepare(str(tmp_path / "div2k"), str(tmp_path / "packed"))
    assert manifest["resampler"] == "given"
    (tmp_path / "div2k" / "DIV2K_valid_HR").mkdir()
    with pytest.raises(UsageError, match="several data sets"):
        find_pairs(tmp_path / "div2k", 4)
