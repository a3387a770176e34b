"""Networks of another size that start from a trained one."""

import pytest
import torch

from srkd import create_generator
from srkd.models.resizing import can_resize, resize

LITE = {"tail": "lr", "skip": "bilinear"}
CASES = [
    ("span", {"channels": 12}, {"channels": 16}),
    ("compact", {"channels": 12, "convs": 3}, {"channels": 16, "convs": 3}),
    ("srgan", {"channels": 12, "blocks": 3, **LITE}, {"channels": 16, "blocks": 3, **LITE}),
    ("srgan", {"channels": 12, "blocks": 3}, {"channels": 16, "blocks": 3}),
]


def make(name, options, scale=4):
    network = create_generator(name, scale, **options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.normal_(0.1, 0.1)
    return network


def run(network):
    with torch.no_grad():
        return network(torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(("name", "small", "large"), CASES)
@pytest.mark.parametrize("same", [True, False])
def test_a_wider_network_computes_what_the_trained_one_does(name, small, large, same):
    source, target = make(name, small), make(name, small if same else large)
    assert can_resize(source, target)
    before = run(target)
    resize(source, target)
    assert torch.allclose(run(target), run(source), atol=1e-3, rtol=1e-2)
    assert not torch.allclose(run(target), before, atol=1e-3)


@pytest.mark.parametrize(("name", "small", "large"), CASES)
def test_channels_that_feed_nothing_are_what_is_left_out(name, small, large):
    # A wide network whose extra channels add nothing, in an order that hides which they are.
    source, wide, target = make(name, small), make(name, large), make(name, small)
    resize(source, wide)
    resize(wide, target)
    assert torch.allclose(run(target), run(source), atol=1e-3, rtol=1e-2)


def test_new_channels_learn():
    source, target = (
        make("compact", {"channels": 8, "convs": 2}),
        make("compact", {"channels": 12, "convs": 2}),
    )
    resize(source, target)
    target(torch.rand(1, 3, 8, 8)).square().mean().backward()
    last = target.body[-1].weight.grad
    assert (last[:, 8:].abs().sum((0, 2, 3)) > 0).all()


def test_fewer_blocks_are_evenly_spaced():
    source = make("srgan", {"channels": 8, "blocks": 5, **LITE})
    target = make("srgan", {"channels": 8, "blocks": 3, **LITE})
    resize(source, target)
    for ours, theirs in ((0, 0), (1, 2), (2, 4)):
        assert torch.equal(target.body[ours].layers[0].weight, source.body[theirs].layers[0].weight)


@pytest.mark.parametrize("name", ["span", "srgan", "compact"])
def test_another_scale_keeps_a_fresh_tail(name):
    options = {
        "span": {"channels": 8},
        "srgan": {"channels": 8, "blocks": 1, **LITE},
        "compact": {"channels": 8, "convs": 2},
    }
    source, target = make(name, options[name]), make(name, options[name], scale=2)
    tail = {"span": "upsampler.0", "srgan": "tail.0", "compact": "body.6"}[name]
    fresh = target.get_submodule(tail).weight.clone()
    resize(source, target)
    assert torch.equal(target.get_submodule(tail).weight, fresh)
    assert run(target).shape == (1, 3, 18, 22)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (("compact", {"channels": 8, "convs": 3}), ("compact", {"channels": 8, "convs": 2})),
        (("srgan", {"channels": 8, "blocks": 1}), ("srgan", {"channels": 8, "blocks": 2})),
        (("span", {"channels": 8}), ("compact", {"channels": 8, "convs": 3})),
        (
            ("srgan", {"channels": 8, "blocks": 1, "norm": "bn"}),
            ("srgan", {"channels": 8, "blocks": 1, "norm": "bn"}),
        ),
        (("branched", {"channels": 8, "blocks": 1}), ("branched", {"channels": 8, "blocks": 1})),
    ],
)
def test_what_does_not_go_together_is_told(source, target):
    assert not can_resize(make(*source), make(*target))
