"""The model of times."""

from typing import NamedTuple

import pytest

from srkd.search.latency import Measured, fit_latency


class Network(NamedTuple):
    architecture: str
    layers: int
    macs: float
    traffic: float


def make(name, factor, sizes=((4, 1e3, 100), (8, 4e3, 400), (16, 9e3, 500), (30, 50e3, 900))):
    networks = [Network(name, *size) for size in sizes]
    return [
        Measured(n, 1000, factor * (1e-5 * n.layers + 1e-9 * n.macs * 1000 + 2e-9 * n.traffic * 1000))
        for n in networks
    ]


def test_it_finds_what_made_the_times():
    model = fit_latency(make("a", 1.0) + make("b", 3.0))
    other = Network("a", 10, 7e3, 300)
    assert model.predict(other, 500) == pytest.approx(1e-4 + 3.5e-3 + 3e-4, rel=1e-6)
    assert model.predict(Network("b", 10, 7e3, 300), 500) == pytest.approx(
        3 * (1e-4 + 3.5e-3 + 3e-4), rel=1e-6
    )
    assert model.error < 1e-6


def test_an_architecture_that_was_not_measured_takes_what_all_have():
    model = fit_latency(make("a", 1.0))
    assert model.predict(Network("c", 8, 4e3, 400), 1000) == pytest.approx(make("a", 1.0)[1].seconds)


def test_errors_are_of_measurements_left_out():
    points = make("a", 1.0)
    points[1] = points[1]._replace(seconds=2 * points[1].seconds)
    assert min(fit_latency(points).errors) < -0.3


def test_no_time_falls_as_work_grows():
    points = [
        Measured(Network("a", 4, 1e4, 100), 1000, 0.02),
        Measured(Network("a", 8, 2e4, 200), 1000, 0.01),
    ]
    model = fit_latency(points)
    assert all(value >= 0 for value in model.factors["a"])
