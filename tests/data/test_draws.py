"""Packed sets with random degradations: several LR images of each HR image."""

import functools
import json
import os
import shutil

import numpy as np
import pytest

import srkd
from srkd import SrkdError, UsageError
from srkd.data import degrade, drawing, open_data
from srkd.data.degrade import draw_lr, draw_rng
from srkd.degradation import make_degradation
from srkd.files import hash_file
from srkd.images.tensors import to_batch
from srkd.weights.store import load_generator

MIX = {"preset": "real", "clean": 0.3}
DRAWN = {"degradation": MIX, "draws": 3, "seed": 5, "verbose": False}


@pytest.fixture(scope="module")
def weights(teacher):
    return teacher / "gan.safetensors"


@pytest.fixture(scope="module")
def drawn(photos, weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn") / "packed"
    srkd.prepare(photos, out, teacher=weights, teacher_precision="float16", **DRAWN)
    return out


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


def prepare_until(calls, monkeypatch, *arguments, **options):
    """Packs, and is interrupted after that many draws."""
    whole, left = degrade.draw_lr, iter(range(calls))

    def stopped(*words):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return whole(*words)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(degrade, "draw_lr", stopped)
        srkd.prepare(*arguments, **options)


def test_each_draw_has_its_lr_and_the_teachers_output_for_it(photos, drawn, weights):
    data = open_data(drawn, 4, teachers=[hash_file(weights, 16)])
    plain = {pair.sha256: pair for side in ("train", "val") for pair in getattr(open_data(photos, 4), side)}
    pairs = data.train + data.val
    assert len(pairs) == 3 * len(plain) and (drawn / "hr.u8").stat().st_size == sum(
        pair.hr.size for pair in plain.values()
    )
    network, clean = load_generator(weights), 0
    for pair in pairs:
        own, draw = plain[pair.sha256], int(pair.name.rpartition("#")[2])
        steps: list[str] = []
        lr = draw_lr(own.lr, own.hr, draw_rng(5, pair.sha256, draw), make_degradation(MIX), steps.append)
        assert np.array_equal(pair.hr, own.hr) and np.array_equal(pair.lr, lr)
        clean += np.array_equal(lr, own.lr)
        output = network(to_batch(lr[None])).detach()[0].permute(1, 2, 0).numpy()
        assert np.allclose(pair.targets[0], output, atol=2e-3)
    assert 0 < clean < len(pairs)
    entries = json.loads((drawn / "manifest.json").read_text())["images"]
    assert sum(entry.get("clean", False) for entry in entries) == clean
    # All draws of an image serve one purpose.
    assert not {pair.sha256 for pair in data.train} & {pair.sha256 for pair in data.val}
    assert len({pair.sha256 for pair in data.val}) == 1
    listed = open_data(drawn, 4, drawn / "validation.sha256")
    assert [p.name for p in listed.val] == [p.name for p in data.val]


def test_training_takes_the_stored_pairs_and_says_what_made_them(drawn, weights, tmp_path):
    run = {"model": "srgan_tiny", "steps": 2, "batch": 2, "crop": 32, "teacher": weights}
    options = {"strategy": "gan2g", "stages": {"pretrain": None, "finetune": None}, "verbose": False, **run}
    found = srkd.distill(drawn, out=tmp_path / "run", **options)
    info = load_generator(found.weights["transfer"]).info
    assert info["degradation"] == MIX and info["teacher"].startswith("gan@")
    with pytest.raises(UsageError, match="packed with a degradation, and this recipe degrades LR too"):
        srkd.distill(drawn, out=tmp_path / "other", degradation="real", **options)


@pytest.mark.parametrize("calls", [1, 4, 5, 11])
def test_an_interrupted_call_goes_on_in_the_middle_of_an_image(
    photos, drawn, weights, tmp_path, monkeypatch, calls
):
    out = tmp_path / "packed"
    prepare_until(calls, monkeypatch, photos, out, **DRAWN)
    srkd.prepare(photos, out, teacher=weights, teacher_precision="float16", **DRAWN)
    assert contents(out) == contents(drawn)


def test_several_processes_draw_the_same_and_go_on(photos, drawn, weights, tmp_path, monkeypatch):
    out = tmp_path / "packed"
    prepare_until(4, monkeypatch, photos, out, **DRAWN)
    srkd.prepare(photos, out, teacher=weights, teacher_precision="float16", jobs=2, **DRAWN)
    assert contents(out) == contents(drawn)


def test_a_drawing_process_that_dies_is_told(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "_start", functools.partial(os._exit, 1))
    with pytest.raises(SrkdError, match="a process that degraded images died"):
        srkd.prepare(photos, tmp_path / "packed", jobs=2, **DRAWN)
    with pytest.raises(UsageError, match="jobs must be a whole number of at least 1"):
        srkd.prepare(photos, tmp_path / "other", jobs=0, **DRAWN)


def test_bad_images_do_not_shift_the_draws_of_the_others(photos, tmp_path, monkeypatch):
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "b.png").write_text("no image")
    out = tmp_path / "packed"
    prepare_until(8, monkeypatch, folder, out, skip_bad=True, **DRAWN)
    manifest = srkd.prepare(folder, out, skip_bad=True, jobs=2, **DRAWN)
    assert [entry["name"] for entry in manifest["left_out"]] == ["b.png"]
    draws = [entry["draw"] for entry in manifest["images"]]
    assert draws == [0, 1, 2] * 6 and (out / "lr.u8").stat().st_size == sum(
        3 * entry["width"] * entry["height"] for entry in manifest["images"]
    )


def test_an_output_is_not_paired_with_another_draw(photos, drawn, weights, tmp_path):
    other = tmp_path / "other"
    srkd.prepare(photos, other, **{**DRAWN, "seed": 6})
    (stored,) = drawn.glob("teacher-*.f16")
    shutil.copy(stored, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["teachers"] = json.loads((drawn / "manifest.json").read_text())["teachers"]
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SrkdError, match="holds a teacher's outputs on other draws"):
        open_data(other, 4, teachers=[hash_file(weights, 16)])
    for changed, named in (({"seed": 6}, "seed"), ({"draws": 2}, "draws"), ({"degradation": "web"}, "degr")):
        with pytest.raises(UsageError, match=f"other {named}"):
            srkd.prepare(photos, drawn, **{**DRAWN, **changed})
    with pytest.raises(UsageError, match="other degradation and draws and seed"):
        srkd.prepare(photos, drawn, verbose=False)


def test_a_clean_lr_may_have_hr_in_place_of_the_teachers_output(photos, weights, tmp_path):
    out = tmp_path / "packed"
    srkd.prepare(photos, out, teacher=weights, clean_target="hr", **DRAWN)
    data = open_data(out, 4, teachers=[hash_file(weights, 16)])
    clean = {
        f"{entry['name']}#{entry['draw']}": entry.get("clean", False)
        for entry in json.loads((out / "manifest.json").read_text())["images"]
    }
    for pair in data.train + data.val:
        assert np.array_equal(pair.targets[0], pair.hr) == clean[pair.name]
    with pytest.raises(UsageError, match="as hr; give another folder for teacher"):
        srkd.prepare(photos, out, teacher=weights, **DRAWN)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"draws": 2}, "--draws needs a --degradation"),
        ({"draws": 0, "degradation": "real"}, "draws must be a whole number of at least 1"),
        ({"seed": -1, "degradation": "real"}, "seed must be a whole number of at least 0"),
        ({"degradation": "blurry"}, "'blurry' is not one of none, real, web, camera"),
        ({"degradation": "real", "lr": "somewhere"}, "LR comes from --lr or is made by --degradation"),
        ({"clean_target": "mine"}, "unknown clean_target 'mine'"),
    ],
)
def test_mistakes_are_refused_before_anything_is_packed(photos, tmp_path, options, complaint):
    with pytest.raises(UsageError, match=complaint):
        srkd.prepare(photos, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
