"""The page on scale, and the simulation under it."""

import json

import pytest

from benchmarks.scale import FILE, PAGE, simulate
from benchmarks.scale_page import render


def test_the_page_is_what_its_figures_give():
    assert render(json.loads(FILE.read_text())) == PAGE.read_text()


@pytest.fixture
def calm(monkeypatch):
    """Workers that are all the same, and live long."""
    from benchmarks import scale

    quiet = {**scale.ASSUMED, "slow": (0.0, ""), "failures": (1e-12, "")}
    monkeypatch.setattr(scale, "ASSUMED", quiet)
    return quiet


def test_a_calm_job_takes_its_work_over_its_workers(calm):
    found = simulate([2.0], 10, 1000, 0.0)
    assert found["hours"] == pytest.approx(200 / 3600) and found["efficiency"] == pytest.approx(1)
    assert found["lost"] == 0 and found["tail"] == pytest.approx(0)


def test_more_workers_than_the_driver_serves_wait(calm):
    """At 10 ms for each task it hands out 100 in a second, whatever the workers could do."""
    found = simulate([1.0], 1000, 20_000, 0.01)
    assert found["hours"] == pytest.approx(201 / 3600, rel=0.01)
    assert found["efficiency"] == pytest.approx(0.1, rel=0.02)


def test_lost_work_is_done_again(calm, monkeypatch):
    from benchmarks import scale

    monkeypatch.setattr(scale, "ASSUMED", {**calm, "failures": (60.0, ""), "restart": (0.0, "")})
    found = simulate([10.0], 50, 5000, 0.0)
    # A worker lives 60 s on average, so of tasks of 10 s one in about six is begun in vain.
    assert 0.12 < found["lost"] < 0.24
    assert found["hours"] > 1000 / 3600
    assert simulate([10.0], 50, 5000, 0.0) == found


def test_slow_workers_make_a_tail(calm, monkeypatch):
    from benchmarks import scale

    monkeypatch.setattr(scale, "ASSUMED", {**calm, "slow": (0.3, ""), "slowness": (10.0, "")})
    assert simulate([1.0], 20, 2000, 0.0)["tail"] > 3 / 3600
