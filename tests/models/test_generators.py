"""Every registered generator."""

import pytest
import torch
from conftest import ARCHITECTURES, build_network

from srkd import UsageError, create_discriminator, create_generator
from srkd.models import GENERATORS
from srkd.models.base import Generator


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", GENERATORS)
def test_every_named_generator_enlarges(name, scale):
    model = create_generator(name, scale).eval()
    with torch.no_grad():
        assert model(torch.rand(2, 3, 7, 5)).shape == (2, 3, 7 * scale, 5 * scale)
    names = {name for name, _ in model.named_modules()}
    assert model.taps and set(model.taps) <= names
    assert isinstance(model, Generator) and model.scale == scale and model.info == {}
    assert not model.tail_name or model.tail_name in names


def test_every_architecture_is_tested():
    assert {name for name, (_, options) in GENERATORS.items() if not options} == {
        name for name, _ in ARCHITECTURES
    }


def test_the_lr_tail_keeps_the_trunk():
    paper, lr = (create_generator("srgan", tail=tail).state_dict() for tail in ("paper", "lr"))
    trunk = {key for key in paper if not key.startswith("tail")}
    assert trunk == {key for key in lr if not key.startswith("tail")}
    assert all(paper[key].shape == lr[key].shape for key in trunk)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("name", "options"), ARCHITECTURES)
def test_radius_is_the_receptive_field(name, options, scale):
    """A NaN reaches exactly the outputs whose receptive field holds it (in double, where convolutions are
    plain sums)."""
    model = build_network(name, options, scale).double()
    side = 2 * model.radius + 5
    image = torch.zeros(1, 3, side, side, dtype=torch.double)
    image[..., side // 2, side // 2] = torch.nan
    with torch.no_grad():
        rows = model(image)[0].isnan().any(0).any(1).nonzero().flatten() // scale
    reach = max(side // 2 - int(rows.min()), int(rows.max()) - side // 2)
    assert reach <= model.radius <= reach + 1


def test_a_branch_stands_alone():
    student = create_generator("branched", channels=4, blocks=1, branches=3, branch_blocks=1)
    image = torch.rand(1, 3, 9, 7)
    singles = [student.select_branch(k) for k in range(3)]
    with torch.no_grad():
        torch.testing.assert_close(sum(single(image) for single in singles) / 3, student(image))
    rebuilt = create_generator(**singles[1].config)
    rebuilt.load_state_dict(singles[1].state_dict())
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(image), singles[1](image))
    with pytest.raises(UsageError, match="branch"):
        student.select_branch(3)


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
