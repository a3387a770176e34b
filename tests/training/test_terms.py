"""Weights of the terms, step by step."""

import pytest
from conftest import critic, make_state

from srkd.config import Critic, Loss, Mutual, Stage
from srkd.training.state import term_weights


def test_schedules():
    losses = {
        "l1": Loss(2.0),
        "mse": Loss(2.0, "linear", 1.0),
        "charbonnier": Loss(2.0, "cosine"),
    }
    stage = Stage(
        steps=11, losses=losses, critics={"hr": Critic(1e-3, "linear")}, mutual=Mutual(0.1, 2.0, 0.5)
    )
    start, middle, end = (term_weights(stage, step) for step in (0, 5, 10))
    assert [w["l1"] for w in (start, middle, end)] == [2, 2, 2]
    assert [w["mse"] for w in (start, middle, end)] == pytest.approx([2, 1.5, 1])
    assert [w["charbonnier"] for w in (start, middle, end)] == pytest.approx([2, 1, 0])
    assert [w["adversarial_hr"] for w in (start, middle, end)] == pytest.approx([1e-3, 5e-4, 0])
    assert [w["mutual"] for w in (start, middle, end)] == pytest.approx([0, 0.1, 0.1])


def test_kd_replaces_scales_the_losses_against_hr():
    losses = {"l1": Loss(1.0), "output": Loss(0.25)}
    added = term_weights(Stage(losses=losses), 0)
    replaced = term_weights(Stage(losses=losses, kd_replaces=True), 0)
    assert (added["l1"], replaced["l1"], replaced["output"]) == (1.0, 0.75, 0.25)


def test_an_adversary_can_be_warmed_up():
    stage = Stage(steps=11, losses={"l1": Loss()}, critics={"hr": critic(weight=0.1, ramp=0.5)})
    weights = [term_weights(stage, step)["adversarial_hr"] for step in (0, 1, 5, 10)]
    assert weights == pytest.approx([0, 0.02, 0.1, 0.1])
    assert term_weights(stage, 0)["critic_hr"] == 1


def test_two_time_scales():
    state = make_state(Stage(steps=10, rate=1e-4, losses={"l1": Loss()}, critics={"hr": critic(rate=4e-4)}))
    state.set_rates(0)
    assert [g["lr"] for g in state.generators.param_groups] == pytest.approx([1e-4])
    assert [g["lr"] for g in state.critics_optimizer.param_groups] == pytest.approx([4e-4])
