"""`srkd critic`."""

import numpy as np
import pytest

import srkd
from srkd.images.writing import write_image
from srkd.training.critic import WINDOW, has_settled

SMALL = {"crop": 48, "batch": 4, "discriminator_options": {"channels": 4}, "threads": 1}


@pytest.fixture(scope="module")
def alone(teacher, tmp_path_factory):
    """A teacher without a discriminator."""
    path = tmp_path_factory.mktemp("alone") / "mine.safetensors"
    path.write_bytes((teacher / "pretrain.safetensors").read_bytes())
    return path


def test_a_fitted_discriminator_makes_gan2gan_work(photos, alone, tmp_path, fails, capsys):
    run = ("distill", photos, "--teacher", alone, "--strategy", "gan2gan", "--model", "srgan_tiny")
    run = (*run, "--steps", 2, "--batch", 2, "--crop", 48, "--out", tmp_path / "run")
    assert f"`srkd critic DATA {alone}`" in fails(2, *run)
    before = alone.read_bytes()
    found = srkd.critic(photos, alone, steps=2000, rate=1e-3, **SMALL)
    assert found.path == alone.with_name("mine_discriminator.safetensors")
    # The teacher's images are blurred: they are easily told from HR.
    assert found.settled and found.accuracy > 0.9
    assert alone.read_bytes() == before
    assert srkd.cli.main([str(word) for word in run]) == 0
    assert "is there already" in fails(2, "critic", photos, alone)


def test_stored_outputs_serve_in_place_of_the_teacher(photos, alone, tmp_path):
    packed = tmp_path / "packed"
    srkd.prepare(photos, packed, teacher=alone, verbose=False)
    (stored,) = packed.glob("teacher-*.u8")
    # HR under the teacher's name: nothing tells it from HR.
    stored.write_bytes((packed / "hr.u8").read_bytes())
    found = srkd.critic(packed, alone, tmp_path / "d.safetensors", steps=450, rate=1e-3, **SMALL)
    assert found.steps == 450 and not found.settled and 0.3 < found.accuracy < 0.7


def test_settled_means_that_accuracy_left_chance_and_no_longer_rises():
    chance, rising, flat = (
        [0.5] * 4 * WINDOW,
        [k / (4 * WINDOW) for k in range(4 * WINDOW)],
        [0.9] * 4 * WINDOW,
    )
    assert not has_settled(chance) and not has_settled(rising) and not has_settled(flat[1:])
    assert has_settled(flat) and has_settled(rising + flat)


def test_mistakes_are_one_line(photos, alone, tmp_path, fails):
    out = tmp_path / "d.safetensors"
    assert "no weights file" in fails(2, "critic", photos, tmp_path / "none.pth")
    assert "must end in .safetensors" in fails(2, "critic", photos, alone, tmp_path / "d.pth")
    assert "unknown discriminator" in fails(2, "critic", photos, alone, out, "--discriminator", "none")
    assert "steps must be" in fails(2, "critic", photos, alone, out, "--steps", 0)
    assert "rate must be" in fails(2, "critic", photos, alone, out, "--rate", "nan")
    write_image(tmp_path / "val" / "small.png", np.zeros((24, 24, 3), np.uint8))
    few = ("critic", photos, alone, out, "--val", tmp_path / "val", "--crop", 48, "--batch", 2)
    assert "smaller than a crop of 48" in fails(2, *few)
    assert not out.exists()
