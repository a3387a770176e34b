"""The HTML page of a run."""

import json
import re
import sys

import matplotlib
import numpy as np

from srkd.reports.compression import write_page
from srkd.reports.page import busiest_window, plot_curves


def test_the_page_holds_everything_and_escapes_it(tmp_path):
    image = np.full((8, 8, 3), 200, np.uint8)
    rows = [{"model": "<b>one</b>", "psnr": 30.126, "lpips": 0.12345, "parameters": 179184}]
    texts = dict.fromkeys(["summary", "held", "bd", "why", "commands"], "a <note>")
    texts |= {"title": "5 < 6", "worth": True, "verdict": ["a <note>"], "budgets": rows, "scores": rows}
    texts |= {"candidates": [{"cells": {"name": "<i>"}, "mark": "taken"}], "hours": rows}
    texts |= {"search_notes": [], "training_notes": []}
    log = {"stage": "pretrain", "step": 1, "psnr": [30.0]}
    (tmp_path / "log.jsonl").write_text(json.dumps(log))
    page_file = tmp_path / "r.html"
    write_page(page_file, texts, {"one": [tmp_path]}, {"a&b.png": {"LR": image, "HR": image}})
    page = page_file.read_text()
    for part in (
        "<h1>5 &lt; 6</h1>",
        "a &lt;note&gt;",
        "<td>&lt;b&gt;one&lt;/b&gt;</td>",
        "<td>&lt;i&gt;</td>",
    ):
        assert part in page
    assert all(f"<td>{cell}</td>" in page for cell in ("30.13", "0.1235", "179,184"))
    assert "validation PSNR" in page and page.count('src="data:image/png;base64,iVBOR') == 2
    assert not re.search(r"(src|href)=.(?!data:)(?!#)", page.replace("xlink:", ""))


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
    (text,) = plot_curves({name: [tmp_path / name] for name in ("one", "two")})
    assert text.startswith("<svg") and text.index("validation PSNR") < text.index("l1")
    assert "<!-- 20" in text and "<!-- one -->" in text and "<!-- two -->" in text


def test_the_busiest_window_is_found():
    image = np.full((64, 96, 3), 128, np.uint8)
    image[32:48, 64:80] = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    assert busiest_window(image, 16) == (32, 64)
    assert busiest_window(image[:8, :8], 16) == (0, 0)


def write_log(folder, stages):
    """A run's log: of each stage its losses, and how many steps lie between entries."""
    folder.mkdir()
    lines = [
        {"stage": stage, "step": every * k, "losses": dict.fromkeys(losses, 0.1 * k)}
        for stage, losses, every in stages
        for k in range(1, 6)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def count_points(svg):
    """The points of each line of a plot, in its parts: each part begins with M."""
    lines = re.findall(r'<path d="([ML][^"]*)"[^>]*stroke: #1f77b4', svg.replace("\n", " "))
    return sorted([len(part.split("L")) for part in line.split("M")[1:]] for line in lines)


def test_stages_that_log_at_different_intervals_are_one_line(tmp_path):
    run = write_log(tmp_path / "run", [("transfer", ["l1"], 4), ("finetune", ["l1"], 1)])
    assert count_points(plot_curves({"run": [run]})[0])[-1] == [10]


def test_a_loss_is_not_drawn_across_a_stage_without_it(tmp_path):
    stages = [("pretrain", ["l1"], 1), ("transfer", ["output"], 1), ("finetune", ["l1"], 1)]
    run = write_log(tmp_path / "run", stages)
    assert [5, 5] in count_points(plot_curves({"run": [run]})[0])
