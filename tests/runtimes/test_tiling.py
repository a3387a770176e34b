"""Tiles: the same image, within the memory there is."""

import itertools
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from conftest import ARCHITECTURES, build_network
from hypothesis import given, settings
from hypothesis import strategies as st

from srkd import SrkdError
from srkd.runtimes.runner import BUDGET, OVERHEAD, Runner, average_flips, put
from srkd.upscaling.opening import open_runner


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(ARCHITECTURES), st.integers(1, 24), st.integers(1, 24), st.integers(1, 26))
def test_tiles_give_the_whole_image(architecture, height, width, tile):
    model = build_network(*architecture, scale=2)

    @torch.inference_mode()
    def run(batch):
        return model(torch.from_numpy(batch)).numpy()

    upscaler = Runner("test", 2, model.radius, run)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    difference = upscaler(image, tile).astype(int) - upscaler(image)
    assert abs(difference).max() <= 1


def test_memory_that_runs_out_halves_the_tiles(photo):
    """The result stays that of the whole image, whatever fails when."""

    def blur(batch):
        if batch.shape[2] * batch.shape[3] > 900:
            raise RuntimeError("[ONNXRuntimeError] : 6 : bad allocation")
        seen.append(batch.shape)
        padded = np.pad(batch, [(0, 0), (0, 0), (2, 2), (2, 2)], mode="edge")
        total = sum(
            padded[:, :, y : y + batch.shape[2], x : x + batch.shape[3]] for y in range(5) for x in range(5)
        )
        return (total / 25).repeat(2, 2).repeat(2, 3)

    seen: list = []
    whole = Runner("blur", 2, 2, blur)
    found = whole(photo)
    assert len(seen) > 4
    expected = np.pad(photo.astype(np.float32), [(2, 2), (2, 2), (0, 0)], mode="edge")
    expected = sum(expected[y : y + 60, x : x + 80] for y in range(5) for x in range(5)) / 25
    assert np.abs(found - expected.repeat(2, 0).repeat(2, 1)).max() <= 0.51
    assert np.array_equal(whole(photo, 25), found)


def test_memory_that_never_suffices_and_other_errors(photo):
    def hungry(batch):
        raise MemoryError

    def broken(batch):
        raise RuntimeError("shape mismatch")

    with pytest.raises(SrkdError, match="not enough memory"):
        Runner("hungry", 2, 2, hungry)(photo)
    with pytest.raises(RuntimeError, match="shape"):
        Runner("broken", 2, 2, broken)(photo)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 40), st.integers(0, 12), st.booleans())
def test_parts_cover_the_image(height, width, tile, radius, exact):
    """A network that gives its window back places every pixel where it belongs; blended parts too."""

    def identity(batch):
        return batch.repeat(2, 2).repeat(2, 3)

    image = np.random.default_rng(0).integers(0, 65536, (height, width, 3), np.uint16)
    upscaler = Runner("identity", 2, radius, identity, exact)
    found = np.full((height * 2, width * 2, 3), 7, np.uint16)
    for part in upscaler.parts(image, tile):
        put(found, part)
    assert np.abs(found.astype(int) - image.repeat(2, 0).repeat(2, 1)).max() <= 1


def test_seams_of_inexact_networks_are_blended():
    """Tiles of a network whose result drifts with its window meet without a step."""

    image = np.zeros((20, 120, 3), np.uint8)
    levels = iter(np.linspace(0, 1, 4))
    upscaler = Runner("drift", 1, 10, lambda batch: np.full_like(batch, next(levels)), exact=False)
    row = upscaler(image, 30)[10, :, 0].astype(int)
    assert 0 < np.abs(np.diff(row)).max() <= 255 / 3 / 5 and row[0] == 0 and row[-1] == 255


def test_flips_are_averaged(photo, weights):
    """The self-ensemble of a flipped image is the flipped self-ensemble."""
    upscaler = average_flips(open_runner(weights))
    for turn in (lambda x: x[:, ::-1], lambda x: x.swapaxes(0, 1), lambda x: np.rot90(x)):
        once = upscaler(np.ascontiguousarray(turn(photo)))
        assert np.abs(once.astype(int) - turn(upscaler(photo))).max() <= 1
    plain = open_runner(weights)
    assert np.abs(plain(photo[:, ::-1].copy()).astype(int) - plain(photo)[:, ::-1]).max() > 1


@given(st.integers(1, 500), st.integers(1, 80), st.integers(0, 40))
def test_windows_are_alike_and_reach_as_far_as_they_must(length, tile, radius):
    """Of a row whose pixels say where they are."""
    windows = []

    def note(batch):
        places = np.rint(batch[0, 0, 0] * 65535).astype(int)
        windows.append((places[0], places[-1] + 1))
        return batch

    row = np.arange(length, dtype=np.uint16)[None, :, None].repeat(3, 2)
    spans = [part.columns for part in Runner("note", 1, radius, note).parts(row, tile)]
    assert spans[0].start == 0 and spans[-1].stop == length
    assert all(a.stop == b.start and a.stop > a.start for a, b in itertools.pairwise(spans))
    for span, (first, last) in zip(spans, windows, strict=True):
        assert first <= max(0, span.start - radius) and last >= min(length, span.stop + radius)
    sides = {last - first for first, last in windows}
    assert len(sides) == 1 and sides.pop() <= max(tile, length if len(spans) == 1 else 0) + 2 * radius


def test_tiles_follow_free_memory(monkeypatch, weights):
    memory = SimpleNamespace(available=8 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    model = open_runner(weights)
    assert model.choose_tiles(64, 64) == (0, 0)
    sides = []

    def note(batch):
        sides.append(batch.shape[2:])
        return batch

    upscaler = Runner("note", 1, model.radius, note, memory=model.memory)
    for available, waste in ((8 * 2**30, 1.25), (2**28, 1.5)):
        memory.available = available
        for height, width in ((1500, 2000), (2000, 1500), (150, 6_000), (700, 900)):
            sides.clear()
            image = np.broadcast_to(np.uint8(0), (height, width, 3))
            assert len(list(upscaler.parts(image, None))) == len(sides)
            areas = [tall * wide for tall, wide in sides]
            assert OVERHEAD * model.memory * max(areas) <= min(BUDGET, available / 4)
            assert sum(areas) < waste * height * width
    heavy = Runner("heavy", 4, 10, note, memory=1e9)
    assert heavy.choose_tiles(100, 100) == (20, 20)
    assert heavy.choose_tiles(1, 1) == (20, 20)


def test_blended_tiles_do_not_read_what_was_never_written(photo):
    """Memory that is not initialised may hold what is not a number."""
    runner = Runner("nearest", 2, 8, lambda batch: batch.repeat(2, 2).repeat(2, 3), exact=False)
    image = photo.astype(np.float32) / 255
    result = np.full((image.shape[0] * 2, image.shape[1] * 2, 3), np.nan, np.float32)
    for part in runner.parts(image, (16, 24)):
        put(result, part)
    assert np.abs(result - image.repeat(2, 0).repeat(2, 1)).max() < 1e-6
