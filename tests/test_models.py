"""One suite over every registered architecture."""

import json

import numpy as np
import pytest
import spandrel
import torch
from conftest import fails
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from srkd import (
    UsageError,
    create_discriminator,
    create_generator,
    interpolate,
    load_generator,
    save_generator,
)
from srkd.models import DISCRIMINATORS, GENERATORS
from srkd.models.cost import count_macs, count_memory, count_parameters
from srkd.models.fusing import fuse, merge
from srkd.tiling import Upscaler

# Small forms of every architecture and option; the named sizes differ from them in numbers only.
SMALL = [
    ("srgan", {"channels": 8, "blocks": 2, "tail": tail, "norm": norm, "skip": skip})
    for tail in ("paper", "lr")
    for norm in ("none", "bn")
    for skip in ("none", "nearest", "bilinear")
]
SMALL += [
    ("branched", {"channels": 8, "blocks": 1, "branches": 2, "branch_blocks": 1}),
    ("span", {"channels": 8}),
    ("compact", {"channels": 8, "convs": 3}),
]


def build(name, options, scale=4):
    torch.manual_seed(0)
    model = create_generator(name, scale, **options)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", GENERATORS)
def test_every_named_generator_enlarges(name, scale):
    model = create_generator(name, scale).eval()
    with torch.no_grad():
        assert model(torch.rand(2, 3, 7, 5)).shape == (2, 3, 7 * scale, 5 * scale)
    assert all(model.get_submodule(tap) is not None for tap in model.taps)


def test_published_parameter_counts():
    assert round(count_parameters(create_generator("srgan_teacher", norm="bn")) / 1e6, 3) == 1.551
    assert round(count_parameters(create_generator("srgan_student", norm="bn")) / 1e6, 3) == 0.248


def test_macs_are_those_of_the_convolutions():
    # 3x3 convolutions: 3 -> 8, three of 8 -> 8, 8 -> 48, at 320x180.
    macs = count_macs(create_generator("compact", channels=8, convs=3), 4)
    assert macs == 320 * 180 * 9 * (3 * 8 + 3 * 8 * 8 + 8 * 48)


def test_the_lr_tail_keeps_the_trunk():
    paper, lr = (create_generator("srgan", tail=tail).state_dict() for tail in ("paper", "lr"))
    trunk = {key for key in paper if not key.startswith("tail")}
    assert trunk == {key for key in lr if not key.startswith("tail")}
    assert all(paper[key].shape == lr[key].shape for key in trunk)


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_weights_rebuild_their_own_model(tmp_path, name, options):
    model, image = build(name, options, scale=3), torch.rand(1, 3, 9, 11)
    save_generator(model.to(memory_format=torch.channels_last), tmp_path / "w.safetensors", stage="test")
    loaded = load_generator(tmp_path / "w.safetensors")
    assert loaded.config == model.config and loaded.info["stage"] == "test" and not loaded.training
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), model(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("name", "options"), SMALL)
def test_radius_is_the_receptive_field(name, options, scale):
    """A NaN reaches exactly the outputs whose receptive field holds it (in double, where convolutions are
    plain sums)."""
    model = build(name, options, scale).double()
    side = 2 * model.radius + 5
    image = torch.zeros(1, 3, side, side, dtype=torch.double)
    image[..., side // 2, side // 2] = torch.nan
    with torch.no_grad():
        rows = model(image)[0].isnan().any(0).any(1).nonzero().flatten() // scale
    reach = max(side // 2 - int(rows.min()), int(rows.max()) - side // 2)
    assert reach <= model.radius <= reach + 1


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SMALL), st.integers(1, 24), st.integers(1, 24), st.integers(1, 26))
def test_tiles_give_the_whole_image(architecture, height, width, tile):
    model = build(*architecture, scale=2)

    @torch.inference_mode()
    def run(batch):
        return model(torch.from_numpy(batch)).numpy()

    upscaler = Upscaler("test", 2, model.radius, run)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    difference = upscaler(image, tile).astype(int) - upscaler(image)
    assert abs(difference).max() <= 1


@pytest.mark.parametrize("scale", [2, 4])
def test_compact_is_spandrels_bit_for_bit(tmp_path, scale):
    model, image = create_generator("compact_s", scale).eval(), torch.rand(1, 3, 20, 14)
    save_generator(model, tmp_path / "w.safetensors")
    descriptor = spandrel.ModelLoader().load_from_file(tmp_path / "w.safetensors")
    assert (descriptor.architecture.id, descriptor.scale) == ("Compact", scale)
    with torch.no_grad():
        assert torch.equal(descriptor.model(image), model(image))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_span_is_spandrels(tmp_path, scale):
    """In spandrel's evaluation, which runs the merged kernels of the file, and in its training, which runs
    the branches."""
    model, image = create_generator("span", scale, channels=8).eval(), torch.rand(1, 3, 20, 14)
    save_generator(model, tmp_path / "w.safetensors")
    descriptor = spandrel.ModelLoader().load_from_file(tmp_path / "w.safetensors")
    assert (descriptor.architecture.id, descriptor.scale) == ("SPAN", scale)
    with torch.no_grad():
        for mode in (False, True):
            found = descriptor.model.train(mode)(image)
            torch.testing.assert_close(found, model(image), rtol=0, atol=1e-6)


def test_a_merged_network_loads_and_trains(tmp_path):
    """Its file has the plain convolutions alone; the same parts come of them each time, none of them idle."""
    model, image = create_generator("span", channels=8).eval(), torch.rand(1, 3, 20, 14)
    path = save_generator(merge(model), tmp_path / "merged.safetensors")
    assert path.stat().st_size < save_generator(model, tmp_path / "w.safetensors").stat().st_size / 4
    loaded, again = load_generator(path), load_generator(path)
    torch.testing.assert_close(loaded(image), model(image), rtol=0, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), again.parameters(), strict=True))
    loaded(image).square().sum().backward()
    for parameter in loaded.parameters():
        assert parameter.grad is not None and parameter.grad.flatten(1 % parameter.dim()).any(-1).all()
    save_generator(loaded, path)
    found = spandrel.ModelLoader().load_from_file(path).model.train()(image)
    torch.testing.assert_close(found, model(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("change", [lambda tensor: None, lambda tensor: tensor[:1]], ids=["absent", "cut"])
def test_a_damaged_merged_network_is_told(tmp_path, capsys, part, change):
    merged = merge(create_generator("span", channels=8))
    header = {"format": 1, "kind": "generator", "config": merged.config}
    state = {key: value.clone() for key, value in merged.state_dict().items()}
    key = f"block_1.c1_r.{part}"
    state[key] = change(state[key])
    tensors = {name: value for name, value in state.items() if value is not None}
    save_file(tensors, tmp_path / "w.safetensors", {"srkd": json.dumps(header)})
    path = tmp_path / "w.safetensors"
    assert "block_1.c1_r" in fails(capsys, 1, "export", path, "--format", "onnx")


def test_merged_kernels_follow_training():
    """What a state dict says of them is up to date, whatever was loaded or averaged."""
    model = create_generator("span", channels=4)
    stale = {key: value * 0 if "eval_conv" in key else value for key, value in model.state_dict().items()}
    other = create_generator("span", channels=4)
    other.load_state_dict(stale)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    model(torch.rand(1, 3, 8, 8)).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None and parameter.grad.any()
            parameter.sub_(parameter.grad, alpha=0.1)
    averaged.update_parameters(model)
    for network in (model, other, averaged.module):
        for key, value in network.state_dict().items():
            if key.endswith("eval_conv.weight"):
                block = network.get_submodule(key.removesuffix(".eval_conv.weight"))
                assert torch.equal(value, block.merged().weight)


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_fused_networks_compute_the_same(name, options):
    model, image = build(name, options), torch.rand(1, 3, 12, 17)
    fused = fuse(model)
    kinds = {type(module).__name__ for module in fused.modules()}
    assert not kinds & {"BatchNorm2d", "Conv3XC"}
    with torch.no_grad():
        torch.testing.assert_close(fused(image), model(image), rtol=0, atol=2e-6)
    assert not fused.training and all(p.requires_grad for p in model.parameters())


def test_every_architecture_is_tested():
    assert {name for name, (_, options) in GENERATORS.items() if not options} == {name for name, _ in SMALL}


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_fused_networks_keep_their_precision(name, options):
    model, image = build(name, options).double(), torch.rand(1, 3, 9, 8, dtype=torch.double)
    with torch.no_grad():
        torch.testing.assert_close(fuse(model)(image), model(image), rtol=0, atol=1e-12)


def test_memory_is_that_of_the_widest_layer():
    """Compact: the widest point is between two layers of 32 channels; its PixelShuffle and skip are narrower
    than that, at x2."""
    model = create_generator("compact", 2, channels=32, convs=2)
    # The image, a layer's input and output.
    assert count_memory(model) == pytest.approx(4 * (3 + 32 + 32), rel=1e-3)


def test_views_take_no_memory():
    """Of the image or of weights, nor what is done in place."""

    class Views(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.rand(500, 3, 3, 3))

        def forward(self, x):
            kernel = self.weight[:6].flatten(1).view(6, 3, 3, 3)
            found = torch.nn.functional.conv2d(x[:, :, 1:].flip(3), kernel, padding=1).relu_()
            return found[:, :3]

    # The image; its flipped rows, of which one is missing; their six channels.
    assert count_memory(Views()) == pytest.approx(4 * (3 + (3 + 6) * 63 / 64))


@pytest.mark.parametrize("channels", [8, 16])
def test_memory_of_an_upsampling_tail(channels):
    """SRResNet at x2, when PReLU makes new ones of the shuffled features, four pixels to an LR pixel; the
    image, the head's features and the tail's input are still there."""
    model = create_generator("srgan", 2, channels=channels, blocks=1)
    assert count_memory(fuse(model)) == pytest.approx(4 * (3 + 2 * channels + 2 * 4 * channels))


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


def test_misuse_of_interpolation(tmp_path, capsys):
    one, wide, foreign, out = (tmp_path / f"{name}.safetensors" for name in ("one", "wide", "foreign", "out"))
    save_generator(create_generator("srgan_tiny"), one)
    save_generator(create_generator("srgan_tiny", channels=24), wide)
    save_file(create_generator("compact_s").state_dict(), foreign)
    before = one.read_bytes()
    assert "from 0 to 1, not 1.5" in fails(capsys, 2, "interpolate", one, one, "--alpha", "1.5", "--out", out)
    assert "end in .safetensors" in fails(capsys, 2, "interpolate", one, one, "--out", tmp_path / "x.pth")
    assert "one.safetensors exists" in fails(capsys, 2, "interpolate", one, one, "--out", one)
    assert "channels 16 and 24" in fails(capsys, 2, "interpolate", one, wide, "--out", out)
    error = fails(capsys, 2, "interpolate", one, "compact_48x8_psnr", "--out", out)
    assert error.endswith("name srgan and compact")
    assert "another package" in fails(capsys, 2, "interpolate", one, foreign, "--out", out)
    assert "no weights file" in fails(capsys, 2, "interpolate", one, "nothing", "--out", out)
    assert not out.exists() and one.read_bytes() == before


def test_a_spandrel_file_loads(tmp_path):
    model, image = create_generator("compact_s", 2).eval(), torch.rand(1, 3, 8, 8)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    loaded = load_generator(tmp_path / "w.pth")
    assert loaded.scale == 2
    with torch.no_grad():
        assert torch.equal(loaded(image), model(image).clamp(0, 1))


CRITICS = [
    *(("vgg", {"norm": norm}) for norm in ("bn", "spectral", "none")),
    *(("patch", {"norm": norm}) for norm in ("bn", "spectral", "none")),
    ("unet", {}),
]


@pytest.mark.parametrize(("name", "options"), CRITICS)
@pytest.mark.parametrize("size", [(32, 32), (96, 96), (33, 50)])
def test_discriminators_take_any_crop(name, options, size):
    model = create_discriminator(name, channels=4, **options)
    image = torch.rand(2, 3, *size, requires_grad=True)
    logits = model(image)
    assert logits.shape[:2] == (2, 1) and logits.isfinite().all()
    (gradient,) = torch.autograd.grad(logits.sum(), image)
    assert gradient.any()
    assert all(model.get_submodule(tap) is not None for tap in model.taps)
    rebuilt = create_discriminator(**model.config)
    rebuilt.load_state_dict(model.state_dict())


def test_every_discriminator_is_tested():
    assert {name for name, _ in CRITICS} == set(DISCRIMINATORS)


def test_maps_of_logits():
    """A U-Net judges every pixel; PatchGAN's published one sees patches of 70x70."""
    image = torch.rand(1, 3, 141, 141)
    assert create_discriminator("unet", channels=4)(image).shape[-2:] == (141, 141)
    patch = create_discriminator("patch", channels=4, norm="none").double()
    image = image.double().requires_grad_(True)
    logits = patch(image)
    (gradient,) = torch.autograd.grad(logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2], image)
    seen = gradient[0].abs().sum(0) > 0
    assert seen.any(0).sum() == 70 and seen.any(1).sum() == 70


def test_the_published_discriminator_is_wider():
    full, small = (count_parameters(create_discriminator("vgg", channels=c)) for c in (64, 32))
    assert 3.9 < full / small < 4.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("srgam",), "srgan_student_lite"),
        (("srgan", 5), "2, 3, 4"),
        (("srgan", 4, "width"), "width"),
    ],
)
def test_unknown_names_and_options_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        create_generator(arguments[0], *arguments[1:2], **dict.fromkeys(arguments[2:], 1))
    with pytest.raises(UsageError, match="vgg"):
        create_discriminator("resnet")
