"""Every registered discriminator."""

import pytest
import torch
import torch.nn.functional as F

from srkd import create_discriminator
from srkd.models import DISCRIMINATORS

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
    names = {name for name, _ in model.named_modules()}
    assert model.taps and set(model.taps) <= names
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


@pytest.mark.parametrize("size", [(32, 32), (33, 50)])
def test_a_unet_adds_what_it_passed_on_the_way_down(size):
    """Written out level by level."""
    net = create_discriminator("unet", channels=4).eval()
    image = torch.rand(2, 3, *size)

    def act(x):
        return F.leaky_relu(x, 0.2)

    def grow(x, like):
        return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)

    a = act(net.head(2 * image - 1))
    b = act(net.down[0](a))
    c = act(net.down[1](b))
    d = act(net.down[2](c))
    c = act(net.up[0](grow(d, c))) + c
    b = act(net.up[1](grow(c, b))) + b
    a = act(net.up[2](grow(b, a))) + a
    for layer in (0, 2):
        a = act(net.refine[layer](a))
    torch.testing.assert_close(net(image), net.classifier(a))


@pytest.mark.parametrize("name", ["vgg", "patch"])
def test_images_are_centred_on_zero(name):
    """A discriminator without biases has nothing to say of middle gray."""
    net = create_discriminator(name, channels=4, norm="none")
    for parameter_name, parameter in net.named_parameters():
        if parameter_name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    assert not net(torch.full((1, 3, 32, 32), 0.5)).any() and net(torch.rand(1, 3, 32, 32)).any()
