"""The table of measures, and those of pyiqa."""

import importlib.util
import sys
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from srkd import SrkdError, UsageError
from srkd.metrics.named import METRICS, average, find_metric
from srkd.metrics.niqe import niqe
from srkd.metrics.text import render_page


@pytest.mark.parametrize("name", [name for name in METRICS if name != "text"])
def test_a_measure_says_what_it_needs(name, benchmark_photo):
    metric = find_metric(name)
    assert metric is METRICS[name] and metric.name == name and metric.images
    prepare = metric.prepare or (lambda image: image)
    hr = prepare(benchmark_photo)
    rng = np.random.default_rng(0)
    grid = np.tile([1, 0, 0, -1], hr.shape[1] // 4)[None, :, None]
    noises = [sigma * (rng.normal(0, 1, hr.shape) + grid) for sigma in (3, 30)]
    worse = [np.clip(hr + noise, 0, 255).astype(np.uint8) for noise in noises]
    scores = [metric.measure(sr, hr, 4) for sr in (hr, *worse)]
    assert scores[1] < scores[2] and metric.lower_is_better
    if metric.needs_hr:
        assert scores[0] == 0 and metric.measure(worse[0], worse[0][::-1].copy(), 4) != scores[1]
    else:
        assert metric.measure(worse[0], worse[0], 4) == scores[1] == niqe(worse[0])


@pytest.fixture
def benchmark_photo():
    """A page above wide flat ground with a hard edge: each measure finds what it needs."""
    page = render_page(6, 4)[:192, :448].copy()
    page[96:] = 60
    return page


def test_unknown_names():
    with pytest.raises(UsageError, match=r"unknown metric 'nique'; choose from: niqe, halo, .*, pyiqa:NAME"):
        find_metric("nique")


def test_the_mean_says_over_how_many_images():
    assert average([1.0, None, 3.0]) == (2.0, 2)
    assert average([None, None]) == (None, 0)
    assert average([]) == (None, 0)


class Network:
    """As pyiqa's: a mode, a direction, and batches in [0, 1]."""

    def __init__(self, mode):
        self.metric_mode, self.lower_better = mode, mode == "NR"

    def __call__(self, sr, hr=None):
        assert sr.shape[:2] == (1, 3) and sr.min() >= 0 and sr.max() <= 1
        if sr.shape[2] < 20:
            raise RuntimeError("Kernel size can't be greater than actual input size\nand so on")
        return sr.mean() * 255 if hr is None else (sr - hr).abs().mean() * 255


@pytest.fixture
def pyiqa(monkeypatch, tmp_path):
    def create_metric(name, device):
        assert device == "cpu"
        if name == "musiq":
            raise URLError("no network")
        if name == "old_pickle":
            torch.save(SimpleNamespace(runs="code"), tmp_path / "weights.pth")
            torch.load(tmp_path / "weights.pth", weights_only=False)
        return Network("FR" if name == "psnr" else "NR")

    names = ["psnr", "topiq_nr", "musiq", "old_pickle", "fid", "inception_score"]
    module = SimpleNamespace(create_metric=create_metric, list_models=lambda: names)
    monkeypatch.setitem(sys.modules, "pyiqa", module)


def test_metrics_of_pyiqa(pyiqa):
    hr = np.full((40, 50, 3), 100, np.uint8)
    full = find_metric("pyiqa:psnr")
    assert (full.name, full.needs_hr, full.lower_is_better) == ("pyiqa:psnr", True, False)
    assert full.measure(hr + 7, hr, 4) == pytest.approx(7, abs=1e-4)
    blind = find_metric("pyiqa:topiq_nr")
    assert (blind.name, blind.needs_hr, blind.lower_is_better) == ("pyiqa:topiq_nr", False, True)
    assert blind.measure(hr, hr[:9], 4) == pytest.approx(100, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("topiq_mr", UsageError, "no metric 'topiq_mr'; choose from: pyiqa:topiq_nr"),
        ("zzz", UsageError, r"see pyiqa.list_models\(\)"),
        ("fid", UsageError, "sets of images"),
        ("inception_score", UsageError, "sets of images"),
        ("musiq", SrkdError, "cannot load pyiqa:musiq, .*no network"),
        ("old_pickle", SrkdError, "cannot load pyiqa:old_pickle"),
    ],
)
def test_what_pyiqa_cannot_give_is_one_line(pyiqa, name, kind, message):
    with pytest.raises(kind, match=message) as caught:
        find_metric(f"pyiqa:{name}")
    assert type(caught.value) is kind and "\n" not in str(caught.value)


def test_an_image_that_pyiqa_cannot_take_is_one_line(pyiqa):
    small = np.zeros((10, 12, 3), np.uint8)
    with pytest.raises(SrkdError, match="pyiqa:topiq_nr failed on an image of 12x10: Kernel size") as caught:
        find_metric("pyiqa:topiq_nr").measure(small, small, 4)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="differ in size"):
        find_metric("pyiqa:psnr").measure(small, small[:9], 4)


def test_without_pyiqa_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(UsageError, match=r"pyiqa:musiq needs pyiqa: pip install 'srkd\[pyiqa\]'"):
        find_metric("pyiqa:musiq")


def test_the_real_package():
    pytest.importorskip("pyiqa")
    hr = np.full((64, 64, 3), 100, np.uint8)
    metric = find_metric("pyiqa:psnr")
    assert metric.needs_hr and not metric.lower_is_better
    assert metric.measure(hr + 5, hr, 4) == pytest.approx(20 * np.log10(255 / 5), abs=1e-3)


def test_a_folder_of_its_name_is_not_the_package(monkeypatch, tmp_path):
    (tmp_path / "pyiqa").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyiqa", raising=False)
    if importlib.util.find_spec("pyiqa").origin is not None:
        pytest.skip("pyiqa is installed")
    with pytest.raises(UsageError, match=r"pyiqa:musiq needs pyiqa: pip install 'srkd\[pyiqa\]'"):
        find_metric("pyiqa:musiq")
