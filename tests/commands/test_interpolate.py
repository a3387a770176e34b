"""`srkd interpolate`."""

import itertools

import pytest
import torch
from safetensors.torch import save_file

from srkd import create_generator, interpolate, load_generator, save_generator
from srkd.cli import main
from srkd.weights.catalogue import list_shipped


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_interpolated_weights(tmp_path, alpha):
    first, second = (create_generator("srgan_tiny", norm="bn") for _ in range(2))
    second.body[0].layers[1].num_batches_tracked.fill_(7)
    paths = [
        str(save_generator(model, tmp_path / f"{name}.safetensors", objective=name))
        for name, model in (("psnr", first), ("gan", second))
    ]
    mixed = load_generator(interpolate(*paths, alpha=alpha, out=str(tmp_path / "mixed.safetensors")))
    states = zip(
        mixed.state_dict().items(), first.state_dict().values(), second.state_dict().values(), strict=True
    )
    for (key, value), a, b in states:
        expected = b if key.endswith("tracked") else (1 - alpha) * a + alpha * b
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)
    assert mixed.info["objective"] == "gan" and mixed.info["interpolation"]["alpha"] == alpha
    assert [name.split("@")[0] for name in mixed.info["interpolation"]["of"]] == ["psnr", "gan"]
    # What is interpolated can be interpolated again, and records the latest shares.
    again = interpolate(
        paths[0], tmp_path / "mixed.safetensors", alpha=0.5, out=tmp_path / "again.safetensors"
    )
    shares = load_generator(again).info["interpolation"]
    assert [name.split("@")[0] for name in shares["of"]] == ["psnr", "mixed"]


def test_every_pair_of_shipped_weights_blends_or_says_why_not(tmp_path, fails):
    """Of one network, whatever their cards say; blends of blends included."""
    blended = 0
    for first, second in itertools.permutations(list_shipped(), 2):
        own, other = (load_generator(name).config for name in (first, second))
        out = tmp_path / f"{first}-{second}.safetensors"
        words = [first, second, "--alpha", "0.5", "--out", out]
        if own != other:
            assert "different architectures: " in fails(2, "interpolate", *words)
            continue
        assert main(["interpolate", *map(str, words)]) == 0
        info = load_generator(out).info
        assert [name.split("@")[0] for name in info["interpolation"]["of"]] == [first, second]
        blended += 1
    # Faithful and sharp, there and back: the two students and the teacher.
    assert blended >= 6


def test_misuse_of_interpolation(tmp_path, fails):
    one, wide, foreign, out = (tmp_path / f"{name}.safetensors" for name in ("one", "wide", "foreign", "out"))
    save_generator(create_generator("srgan_tiny"), one)
    save_generator(create_generator("srgan_tiny", channels=24), wide)
    save_file(create_generator("compact_s").state_dict(), foreign)
    before = one.read_bytes()
    assert "from 0 to 1, not 1.5" in fails(2, "interpolate", one, one, "--alpha", "1.5", "--out", out)
    assert "end in .safetensors" in fails(2, "interpolate", one, one, "--out", tmp_path / "x.pth")
    assert "one.safetensors exists" in fails(2, "interpolate", one, one, "--out", one)
    assert "channels 16 and 24" in fails(2, "interpolate", one, wide, "--out", out)
    error = fails(2, "interpolate", one, "compact_48x8_psnr", "--out", out)
    assert error.endswith("name srgan and compact")
    assert "does not hold a network of srkd" in fails(2, "interpolate", one, foreign, "--out", out)
    assert "no weights file" in fails(2, "interpolate", one, "nothing", "--out", out)
    assert not out.exists() and one.read_bytes() == before
