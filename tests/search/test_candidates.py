"""The networks that a student may be, and what they cost."""

import pytest
import torch

from srkd import UsageError, create_generator
from srkd.models import GENERATORS
from srkd.models.base import Generator
from srkd.models.cost import count_macs, count_parameters
from srkd.search.candidates import list_candidates, measure_candidate


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("span", {"channels": 8}),
        ("compact", {"channels": 8, "convs": 3}),
        ("srgan", {"channels": 8, "blocks": 2, "tail": "lr", "skip": "bilinear"}),
    ],
)
def test_costs_are_those_of_the_network(name, options):
    found = measure_candidate(name, options, 4)
    network = create_generator(name, 4, **options)
    assert found.parameters == count_parameters(network)
    assert found.macs * 320 * 180 == count_macs(network, 4)


def test_names_tell_candidates_apart(monkeypatch):
    monkeypatch.setattr(GENERATORS["compact"][0], "variants", {"channels": (8, 12), "convs": (2, 3)})
    found = list_candidates(4, ["compact"])
    assert [one.name for one in found] == ["compact 8x2", "compact 8x3", "compact 12x2", "compact 12x3"]
    assert [one.macs for one in found] == sorted(one.macs for one in found)


def test_an_architecture_that_a_program_adds_takes_part(monkeypatch):
    class Mine(Generator):
        variants = {"width": (4, 6)}  # noqa: RUF012  # as a user writes it

        def __init__(self, width: int = 4, scale: int = 4):
            super().__init__(scale, 1)
            self.body = torch.nn.Conv2d(3, width, 3, padding=1)
            self.tail = torch.nn.Sequential(
                torch.nn.Conv2d(width, 3 * scale**2, 1), torch.nn.PixelShuffle(scale)
            )

        def forward(self, x):
            return self.tail(self.body(x))

    monkeypatch.setitem(GENERATORS, "mine", (Mine, {}))
    found = list_candidates(2, ["mine"])
    assert [one.name for one in found] == ["mine 4", "mine 6"]
    assert found[0].parameters == 4 * 28 + 12 * 5 and found[0].macs == 4 * 27 + 12 * 4


def test_unknown_architectures_are_refused():
    with pytest.raises(
        UsageError, match="unknown architecture 'branched'; students can be srgan, compact, span"
    ):
        list_candidates(4, ["branched"])
