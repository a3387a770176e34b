"""`srkd degrade`: degraded images to look at."""

import json

import numpy as np
import pytest

import srkd
from srkd import SrkdError, UsageError
from srkd.cli import main
from srkd.data.degrade import draw_lr, draw_rng
from srkd.data.pairs import find_pairs, read_pair
from srkd.degradation import make_degradation
from srkd.files import hash_file
from srkd.images.reading import read_image


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_draw_depends_on_seed_image_and_number_alone(photos, tmp_path):
    both = srkd.degrade(photos, tmp_path / "a", draws=2)
    assert [path.name for path in both[:3]] == ["astronaut_0_0.png", "astronaut_0_1.png", "astronaut_1_0.png"]
    one = srkd.degrade(photos, tmp_path / "b", draws=1, verbose=False)
    assert len(both) == 12 and len(one) == 6
    assert all((tmp_path / "a" / path.name).read_bytes() == path.read_bytes() for path in one)
    (source, *_) = find_pairs(photos)
    pair, digest = read_pair(*source, 4), hash_file(source[0])
    expected = draw_lr(pair.lr, pair.hr, draw_rng(0, digest, 1), make_degradation("real"))
    assert np.array_equal(read_image(both[1]), expected)
    other = srkd.degrade(photos, tmp_path / "c", seed=1)
    assert not any(path.read_bytes() == (tmp_path / "b" / path.name).read_bytes() for path in other)


def test_it_tells_what_it_did_and_continues(photos, tmp_path, capsys):
    words = ["degrade", str(photos), str(tmp_path / "a"), "--draws", "3"]
    words += ["--degradation", "{preset: camera, clean: 0.4}"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "clean" in said and "JPEG" in said and "noise" in said and "18 images ->" in said
    before = contents(tmp_path / "a")
    stored = json.loads(before["degradation.json"])["degradation"]
    assert stored["clean"] == 0.4 and stored["jpeg_range2"] == [80, 98]
    for name in ("coffee_0_1.png", "rocket_1_2.png"):
        (tmp_path / "a" / name).unlink()
    assert main(words) == 0
    assert "4 of 6 images are done already" in capsys.readouterr().out
    assert contents(tmp_path / "a") == before
    # The share of clean ones is bicubic's.
    clean = [line.split(":")[0] for line in said.splitlines() if line.endswith(": clean")]
    for source in find_pairs(photos):
        for draw in range(3):
            name = f"{source[0].stem}_{draw}.png"
            equal = np.array_equal(read_image(tmp_path / "a" / name), read_pair(*source, 4).lr)
            assert equal == (name in clean)


def test_a_folder_of_something_else_is_left_alone(photos, tmp_path):
    srkd.degrade(photos, tmp_path / "a")
    before = contents(tmp_path / "a")
    for change, message in (({"seed": 1}, "another seed"), ({"degradation": "web"}, "another degradation")):
        with pytest.raises(UsageError, match=message):
            srkd.degrade(photos, tmp_path / "a", **change)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "astronaut_0_0.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match="not empty"):
        srkd.degrade(photos, tmp_path / "b")
    assert contents(tmp_path / "a") == before and contents(tmp_path / "b") == {"astronaut_0_0.png": b"mine"}


def test_what_cannot_be_read_is_left_out_and_named(photos, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted(photos.iterdir())[:2]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "same.png").write_bytes(path.read_bytes())
    (folder / "same.jpg").write_bytes(b"no image")
    with pytest.raises(SrkdError, match=r"1 of 4 images were left out, the first: .*same\.jpg"):
        srkd.degrade(folder, tmp_path / "out")
    assert set(contents(tmp_path / "out")) == {
        *("astronaut_0_0.png", "astronaut_1_0.png", "same.png_0.png", "degradation.json")
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("fog", "degradation: 'fog' is not one of none, real, web, camera"),
        ("{preset: fog}", "degradation: 'fog' is not one of"),
        ("none", "degradation none changes nothing"),
        ("{preset: none, clean: 0.1}", "the preset none has no 'clean'"),
        ("{blur: 1}", "degradation: unknown key 'blur'"),
        ("{clean: 1.5}", "degradation.clean is a chance from 0 to 1, not 1.5"),
        ("{clean: .nan}", "degradation.clean is a chance from 0 to 1, not nan"),
        ("{blur_sigma: 3}", "degradation.blur_sigma: expected a list, not 3"),
        ("{blur_sigma: [3]}", "degradation.blur_sigma: expected 2 values, not 1"),
        ("{blur_sigma: [3, 1]}", "degradation.blur_sigma must be two numbers from 0.01, the smaller first"),
        ("{blur_sigma: [0, .inf]}", "degradation.blur_sigma must be two numbers"),
        ("{noise_range2: [0, 300]}", "degradation.noise_range2 must be two numbers from 0 to 255"),
        ("{jpeg_range: [0, 50]}", "degradation.jpeg_range must be two numbers from 1 to 100"),
        ("{kernel_size: [8, 12]}", "degradation.kernel_size: sides of kernels are odd, not [8, 12]"),
        ("{resize_prob: [0.5, 0.6, 0.1]}", "degradation.resize_prob must be 3 chances that sum to 1"),
        ("{kernel_prob: [1.0]}", "degradation.kernel_prob must be 6 chances that sum to 1"),
        ("{resize_modes: []}", "degradation.resize_modes must name at least one of area"),
        ("{resize_modes: [lanczos]}", "degradation.resize_modes: 'lanczos' is not one of area"),
        ("[1]", "degradation: expected a preset or a mapping, not [1]"),
    ],
)
def test_impossible_degradations(photos, tmp_path, fails, value, message):
    """The same line from every command that takes one."""
    assert message in fails(2, "degrade", photos, tmp_path / "out", "--degradation", value)
    if value != "none":
        for command in ("config", "estimate", "train"):
            words = [command, photos, "--out", tmp_path / "run", "--strategy", "pretrain"]
            assert message in fails(2, *words, "--degradation", value)
    assert not list(tmp_path.iterdir())
