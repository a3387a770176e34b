"""The table of networks in one browser."""

import json

import pytest

from benchmarks.browser import rivals
from srkd.errors import UsageError


def test_the_table_is_that_of_the_figures():
    figures = json.loads((rivals.HERE / "rivals.json").read_text(encoding="utf-8"))
    table = (rivals.HERE / "rivals.md").read_text(encoding="utf-8")
    assert rivals.to_markdown(figures) == table
    assert set(figures["networks"]) == {*rivals.OURS, *rivals.RIVALS}
    assert {row["backend"].partition(",")[0] for row in figures["networks"].values()} == {
        "ONNX Runtime Web",
        "TensorFlow.js",
    }


def test_missing_archives_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(rivals, "write_site", lambda *words: None)
    (tmp_path / "npm").mkdir()
    with pytest.raises(UsageError, match=r"holds 0 archives upscaler-VERSION.tgz, not one"):
        rivals.build_site(tmp_path / "site", tmp_path / "npm", None)
