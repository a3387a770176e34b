"""Arrays to batches, and back."""

import numpy as np
import pytest
import torch

from srkd.images.tensors import to_batch, to_image, to_levels, to_planes


def test_every_level_comes_back():
    images = np.arange(256 * 3, dtype=np.uint8).reshape(1, 16, 16, 3)
    batch = to_batch(images)
    assert batch.shape == (1, 3, 16, 16) and batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch[0, 1], torch.from_numpy(images[0, :, :, 1] / np.float32(255)))
    assert np.array_equal(to_image(batch), images[0])


def test_half_precision_has_white_at_1_and_is_not_clipped():
    images = np.full((2, 4, 5, 3), 1.25, np.float16)
    batch = to_batch(images)
    assert batch.dtype == torch.float32 and batch.shape == (2, 3, 4, 5) and bool((batch == 1.25).all())


@pytest.mark.parametrize(
    ("value", "level"), [(-0.5, 0), (0.5 / 255 + 1e-4, 1), (0.5 / 255 - 1e-4, 0), (2.0, 255)]
)
def test_images_are_clipped_and_rounded(value, level):
    assert (to_image(torch.full((1, 3, 2, 2), value)) == level).all()


def test_read_only_images_are_taken():
    images = np.zeros((1, 2, 2, 3), np.uint8)
    images.flags.writeable = False
    assert not to_batch(images).any()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_planes_and_levels(kind):
    white = 1 if kind == np.float32 else np.iinfo(kind).max
    image = np.linspace(0, white, 4 * 5 * 3).reshape(4, 5, 3).astype(kind)
    planes = to_planes(image)
    assert planes.shape == (1, 3, 4, 5) and planes.dtype == np.float32 and planes.flags.c_contiguous
    assert (planes.min(), planes.max()) == (0, 1)
    levels = to_levels(planes[0].transpose(1, 2, 0), kind)
    assert levels.dtype == kind and np.array_equal(levels, image)
    assert to_levels(np.float32([-1, 2]), kind).tolist() == [0, white]


def test_arrays_and_tensors_are_the_same_batch():
    image = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    assert np.array_equal(to_planes(image), to_batch(image[None]).numpy())
    values = np.linspace(-0.2, 1.2, 16 * 16 * 3, dtype=np.float32).reshape(1, 3, 16, 16)
    expected = to_image(torch.from_numpy(values))
    assert np.array_equal(to_levels(values[0].transpose(1, 2, 0), np.uint8), expected)
