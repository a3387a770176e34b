"""The HTML page of a run."""

import json
import re
import sys

import matplotlib
import numpy as np

from srkd.reports.page import busiest_window, plot_curves, write_report


def test_the_page_holds_everything_and_escapes_it(tmp_path):
    image = np.full((8, 8, 3), 200, np.uint8)
    rows = [{"model": "<b>one</b>", "psnr": 30.126, "lpips": 0.12345, "parameters": 179184}]
    crops = {"a&b.png": {"LR": image, "HR": image}}
    write_report(tmp_path / "r.html", "5 < 6", ["a <note>"], rows, ["<svg id='curve'></svg>"], crops)
    page = (tmp_path / "r.html").read_text()
    for part in ("<h1>5 &lt; 6</h1>", "a &lt;note&gt;", "<td>&lt;b&gt;one&lt;/b&gt;</td>", "a&amp;b.png"):
        assert part in page
    assert all(f"<td>{cell}</td>" in page for cell in ("30.13", "0.1235", "179,184"))
    assert "<svg id='curve'></svg>" in page and page.count('src="data:image/png;base64,iVBOR') == 2
    assert not re.search(r"(src|href)=.(?!data:)", page)


def test_curves_are_drawn_without_a_display(tmp_path, monkeypatch):
    """PSNR first, a line for each run, stages one behind the other."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setattr(matplotlib, "use", None)
    for name in ("one", "two"):
        entries = [
            {"stage": stage, "step": step, "losses": {"l1": 0.1}, "psnr": [30.0]}
            for stage in ("pretrain", "gan")
            for step in (5, 10)
        ]
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (text,) = plot_curves({name: tmp_path / name for name in ("one", "two")})
    assert text.startswith("<svg") and text.index("validation PSNR") < text.index("l1")
    assert "<!-- 20" in text and "<!-- one -->" in text and "<!-- two -->" in text


def test_the_busiest_window_is_found():
    image = np.full((64, 96, 3), 128, np.uint8)
    image[32:48, 64:80] = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    assert busiest_window(image, 16) == (32, 64)
    assert busiest_window(image[:8, :8], 16) == (0, 0)
