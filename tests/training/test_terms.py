"""The terms and their weights, step by step."""

import math

import pytest
import torch
from conftest import critic, make_batch, make_state

from srkd import UsageError
from srkd.config import Loss, Mutual, Stage
from srkd.training.requirements import check_stage
from srkd.training.schedules import adversarial_weight, loss_weights, mutual_weight, r1_weight
from srkd.training.step import detached, forward_all
from srkd.training.terms import Term, critic_terms, generator_terms, imitation_loss


def test_schedules():
    losses = {
        "l1": Loss(2.0),
        "mse": Loss(2.0, "linear", 1.0),
        "charbonnier": Loss(2.0, "cosine"),
    }
    hr, mutual = critic(weight=1e-3, schedule="linear"), Mutual(0.1, 2.0, 0.5)
    stage = Stage(steps=11, losses=losses, critics={"hr": hr}, mutual=mutual)
    start, middle, end = (loss_weights(stage, step) for step in (0, 5, 10))
    assert [w["l1"] for w in (start, middle, end)] == [2, 2, 2]
    assert [w["mse"] for w in (start, middle, end)] == pytest.approx([2, 1.5, 1])
    assert [w["charbonnier"] for w in (start, middle, end)] == pytest.approx([2, 1, 0])
    assert [adversarial_weight(stage, hr, k) for k in (0, 5, 10)] == pytest.approx([1e-3, 5e-4, 0])
    assert [mutual_weight(stage, mutual, k) for k in (0, 5, 10)] == pytest.approx([0, 0.1, 0.1])


def test_kd_replaces_scales_the_losses_against_hr():
    losses = {"l1": Loss(1.0), "output": Loss(0.25)}
    added = loss_weights(Stage(losses=losses), 0)
    replaced = loss_weights(Stage(losses=losses, kd_replaces=True), 0)
    assert (added["l1"], replaced["l1"], replaced["output"]) == (1.0, 0.75, 0.25)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, "takes the weight of the loss 'output', which the stage does not have"),
        (Loss(1.0), "at least 0 and less than 1, not 1"),
        (Loss(-0.1), "not -0.1"),
        (Loss(0.5, "linear", 1.5), "not 1.5"),
        (Loss(2.0, "cosine", 0.5), "not 2"),
    ],
)
def test_kd_replaces_leaves_something_of_the_losses_against_hr(output, message):
    losses = {"l1": Loss()} | ({"output": output} if output else {})
    with pytest.raises(UsageError, match=message):
        check_stage(Stage(losses=losses, kd_replaces=True))
    check_stage(Stage(losses=losses))
    for fine in (Loss(0.0), Loss(0.99), Loss(0.9, "linear", 0.1), Loss(0.9, "constant", 7.0)):
        check_stage(Stage(losses={"l1": Loss(), "output": fine}, kd_replaces=True))


def test_an_adversary_can_be_warmed_up():
    hr = critic(weight=0.1, ramp=0.5)
    stage = Stage(steps=11, losses={"l1": Loss()}, critics={"hr": hr})
    weights = [adversarial_weight(stage, hr, step) for step in (0, 1, 5, 10)]
    assert weights == pytest.approx([0, 0.02, 0.1, 0.1])
    state = make_state(stage)
    views = [detached(view) for view in forward_all(state, *make_batch())]
    (own,) = critic_terms(state, views, 0)
    assert (own.kind, own.weight) == ("critic", 1)


def test_r1_has_its_weight_at_its_steps_only():
    spec = critic(weight=0.1, r1=10.0, r1_every=4)
    assert [r1_weight(spec, step) for step in range(8)] == [40, 0, 0, 0, 40, 0, 0, 0]


def test_terms_say_whose_they_are():
    """Player, kind, critic, member and weight, from which alone the logged name is made."""
    spec = critic(weight=0.1, r1=1.0, r1_every=1)
    stage = Stage(steps=11, losses={"l1": Loss(0.5)}, critics={"hr": spec}, mutual=Mutual(0.2, ramp=0.0))
    state = make_state(stage, networks=2)
    views = forward_all(state, *make_batch())
    found = generator_terms(state, views, 0) + critic_terms(state, [detached(v) for v in views], 0)
    for member in (0, 1):
        own = {term.kind: term for term in found if term.member == member}
        assert {kind: (term.player, term.critic, term.weight) for kind, term in own.items()} == {
            "l1": ("generators", None, 0.5),
            "adversarial": ("generators", "hr", 0.1),
            "critic": ("critics", "hr", 1.0),
            "r1": ("critics", "hr", 1.0),
            "mutual": ("critics", None, 0.2),
            "disagreement": ("critics", None, 0.0),
        }
        names = [own[kind].name for kind in ("l1", "adversarial", "r1", "mutual")]
        assert names == [f"{member}/{name}" for name in ("l1", "adversarial_hr", "r1_hr", "mutual")]
    assert Term("critics", "r1", "hr", 0, torch.zeros(()), 1.0).name == "r1_hr"


def test_rates_fall_along_half_a_cosine_to_the_final_one():
    stage = Stage(steps=10, rate=1e-3, final_rate=2e-4, losses={"l1": Loss()}, critics={"hr": critic()})
    state = make_state(stage)
    for step in (0, 3, 5, 10):
        state.set_rates(step)
        expected = 2e-4 + 8e-4 * (1 + math.cos(math.pi * step / 10)) / 2
        for optimizer in (state.generators, state.critics_optimizer):
            assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected])


def test_two_time_scales():
    state = make_state(Stage(steps=10, rate=1e-4, losses={"l1": Loss()}, critics={"hr": critic(rate=4e-4)}))
    state.set_rates(0)
    assert [g["lr"] for g in state.generators.param_groups] == pytest.approx([1e-4])
    assert [g["lr"] for g in state.critics_optimizer.param_groups] == pytest.approx([4e-4])


def test_a_discriminator_imitates_one_of_another_form():
    """One number an image, and a map of patches; of equal sides they must not be broadcast."""
    image, patches = torch.rand(2, 1), torch.rand(2, 1, 2, 2)
    wanted = (image[:, 0] - patches.mean((1, 2, 3))).square().mean()
    assert imitation_loss(image, patches) == pytest.approx(float(wanted))
    assert imitation_loss(image, image + 2) == pytest.approx(4)
