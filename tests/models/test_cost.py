"""Parameters, operations and memory."""

import pytest
import torch

from srkd import create_discriminator, create_generator
from srkd.models.cost import count_macs, count_memory, count_parameters
from srkd.models.fusing import fuse


def test_published_parameter_counts():
    assert round(count_parameters(create_generator("srgan_teacher", norm="bn")) / 1e6, 3) == 1.551
    assert round(count_parameters(create_generator("srgan_student", norm="bn")) / 1e6, 3) == 0.248


def test_macs_are_those_of_the_convolutions():
    # 3x3 convolutions: 3 -> 8, three of 8 -> 8, 8 -> 48, at 320x180.
    macs = count_macs(create_generator("compact", channels=8, convs=3), 4)
    assert macs == 320 * 180 * 9 * (3 * 8 + 3 * 8 * 8 + 8 * 48)


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


def test_the_published_discriminator_is_wider():
    full, small = (count_parameters(create_discriminator("vgg", channels=c)) for c in (64, 32))
    assert 3.9 < full / small < 4.1
