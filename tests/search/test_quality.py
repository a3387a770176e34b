"""The model of what a size is worth."""

from types import SimpleNamespace

import pytest

from srkd.search.quality import EXPONENT, fit_quality, load_quality


def row(architecture, parameters, psnr, group="shipped"):
    return {"architecture": architecture, "parameters": parameters, "psnr": psnr, "group": group}


def true(architecture, parameters, group):
    return 27 + 0.2 * (architecture == "b") - 0.5 * (group == "short") - 0.7 * (parameters / 1e5) ** -EXPONENT


def test_it_finds_what_made_the_scores():
    sizes = [("a", 2e4), ("a", 2e5), ("b", 5e4), ("b", 4e5)]
    rows = [row(name, p, true(name, p, group), group) for group in ("shipped", "short") for name, p in sizes]
    model = fit_quality(rows, 25.0)
    assert model.error < 1e-9
    found = model.predict(SimpleNamespace(architecture="b", parameters=1e5))
    assert found == pytest.approx(27.2 - 0.7 - 25)


def test_the_packages_own_networks():
    model = load_quality()
    sizes = [SimpleNamespace(architecture="span", parameters=p) for p in (20_000, 60_000, 200_000)]
    found = [model.predict(size) for size in sizes]
    assert found == sorted(found) and 0.3 < found[0] < found[-1] < 2.5
    assert 0 < model.error < 0.25 and len(model.residuals) >= 10
    other = SimpleNamespace(architecture="mine", parameters=60_000)
    kinds = [SimpleNamespace(architecture=name, parameters=60_000) for name in model.architectures]
    assert min(map(model.predict, kinds)) <= model.predict(other) <= max(map(model.predict, kinds))
