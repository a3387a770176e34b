"""Timing in turns, and the script that does it on another device."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import srkd
from srkd import SrkdError, UsageError
from srkd.search import measuring, timing


def test_turns_rotate_and_the_first_only_warms_up():
    order = []
    works = {name: (lambda name=name: order.append(name)) for name in "abc"}
    for name in works:
        works[name] = lambda name=name: order.append(name) or __import__("time").sleep(measuring.SUSTAINED)
    found = measuring.take_turns(works, 3)
    assert {name: len(values) for name, values in found.items()} == {"a": 3, "b": 3, "c": 3}
    assert order == list("cababcbcacab")


def test_a_summary_has_median_and_quartiles():
    assert measuring.summarise([1.0, 2.0, 3.0, 4.0, 5.0]) == {
        "seconds": 3.0,
        "quartiles": [2.0, 4.0],
        "turns": 5,
    }


def test_the_script_imports_nothing_of_srkd():
    tree = ast.parse(Path(measuring.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) == {
        "numpy",
        "onnxruntime",
    }


def test_the_kit_measures_a_device(tmp_path, monkeypatch):
    from srkd.models import GENERATORS
    from srkd.search.profiles import read_profile

    monkeypatch.setattr(GENERATORS["span"][0], "variants", {})
    monkeypatch.setattr(GENERATORS["srgan"][0], "variants", {})
    monkeypatch.setattr(GENERATORS["compact"][0], "variants", {"channels": (8,), "convs": (2, 3, 8)})
    kit = srkd.profile(tmp_path / "kit", size="24x16")
    words = [sys.executable, "profile.py", "--turns", "1", "--threads", "1"]
    done = subprocess.run(words, cwd=kit, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = read_profile(kit / "device.json")
    assert found.runtime == "onnxruntime" and found.threads == 1 and found.scale == 4
    assert {tuple(entry["size"]) for entry in found.times} == {(24, 16)}
    assert all(m.seconds > 0 and m.pixels == 24 * 16 for m in found.measured(4))
    assert json.loads((kit / "kit.json").read_text())["precision"] == "fp32"


def test_a_profile_takes_the_place_of_measuring(tmp_path, monkeypatch):
    from srkd.search.budgets import parse_budgets
    from srkd.search.candidates import list_candidates
    from srkd.search.choosing import Searcher
    from srkd.search.profiles import read_profile
    from srkd.search.timing import Place

    known = list_candidates(4, ["compact"])
    times = [
        {"file": one.name, "architecture": "compact", "options": dict(one.options), "size": [320, 180]}
        | {"seconds": 1e-9 * one.macs * 320 * 180 / 10, "quartiles": [0, 1]}
        for one in known[::12]
    ]
    facts = {"format": 1, "machine": "a phone", "runtime": "onnxruntime", "precision": "fp32", "threads": 4}
    path = tmp_path / "device.json"
    path.write_text(json.dumps({**facts, "scale": 4, "times": times}))
    searcher = Searcher(
        parse_budgets("100ms@160x90"),
        Place("onnxruntime", 4, "fp32"),
        4,
        tmp_path,
        ["compact"],
        read_profile(path),
    )
    found = searcher.run()
    assert found.chosen is not None and not searcher.watch.times
    # 100 ms at a quarter of the pixels, at 10 multiply-accumulates in a nanosecond.
    assert 0.7 < found.chosen.candidate.macs * 160 * 90 * 1e-10 / 0.1 <= 1.0
    assert any("a phone" in note for note in found.notes)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "times": [{}]}'])
def test_what_is_no_profile_is_refused(tmp_path, text):
    from srkd.search.profiles import read_profile

    path = tmp_path / "device.json"
    path.write_text(text)
    with pytest.raises(SrkdError, match=r"no profile of srkd, or is damaged"):
        read_profile(path)


def test_a_runtime_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for runtime, package in (("litert", "ai_edge_litert"), ("ncnn", "ncnn")):
        said = rf"^{runtime} needs the package {package}; pip install 'srkd\[{runtime}\]'$"
        with pytest.raises(UsageError, match=said):
            timing.Place(runtime, None, "fp32")


def test_litert_is_timed_on_the_sizes_of_its_files(tmp_path, monkeypatch):
    from srkd.search.candidates import measure_candidate

    for package in ("ai_edge_litert", "litert_torch", "ai_edge_quantizer"):
        pytest.importorskip(package)
    monkeypatch.setattr(measuring, "SUSTAINED", 0.0)
    one = measure_candidate("compact", {"channels": 8, "convs": 2}, 4)
    watch = timing.Stopwatch(timing.Place("litert", 1, "fp32"), 4, [(24, 16), (96, 64)], tmp_path)
    watch.measure([one], turns=3)
    small, large = (watch.times[one.name, size]["seconds"] for size in watch.sizes)
    assert 0 < small < large and 4 * one.parameters < watch.bytes[one.name] < 12 * one.parameters
    assert {path.name for path in tmp_path.iterdir()} == {
        f"compact_8x2.{size}.fp32.tflite" for size in ("24x16", "96x64")
    }
