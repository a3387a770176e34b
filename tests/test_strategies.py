"""The strategies and their controls, as tables."""

from typing import get_args, get_type_hints

import pytest

import srkd
from srkd.losses import LOSSES
from srkd.recipe import Recipe
from srkd.strategies import STRATEGIES, StrategyName

TRANSFERS = [name for name, strategy in STRATEGIES.items() if strategy.teacher]


def test_controls_have_no_teacher_terms():
    for strategy in (*TRANSFERS, "mutual"):
        stages = Recipe("x", strategy, "srgan_tiny", control=True).resolve()
        for name, stage in stages.items():
            assert not any(LOSSES[loss].distills for loss in stage.losses)
            assert (
                not any("teacher" in (c.real, c.init) for c in stage.critics.values())
                and stage.mutual is None
            )
            original = STRATEGIES[strategy].stages[name]
            assert (stage.steps, stage.rate, stage.batch) == (original.steps, original.rate, original.batch)
    transfer = {s: Recipe("x", s, "m", control=True).resolve()["transfer"] for s in TRANSFERS}
    assert {s: (set(t.losses), set(t.critics)) for s, t in transfer.items()} == {
        "gan2g": ({"perceptual", "grid", "blocking"}, set()),
        "g2g_al": ({"perceptual", "grid", "blocking"}, set()),
        "gan2g_al": ({"perceptual", "grid", "blocking"}, {"hr"}),
        "gan2gan": ({"perceptual", "grid", "blocking"}, {"hr"}),
    }


def test_the_table_is_that_of_the_paper():
    finetune = STRATEGIES["gan2g"].stages["finetune"]
    for name, teacher, critics in (
        ("gan2g", "gan", {}),
        ("g2g_al", "psnr", {}),
        ("gan2g_al", "gan", {"hr": ("hr", "fresh")}),
        ("gan2gan", "gan", {"hr": ("hr", "teacher"), "teacher": ("teacher", "fresh")}),
    ):
        strategy = STRATEGIES[name]
        transfer = strategy.stages["transfer"]
        assert strategy.teacher == teacher
        assert set(transfer.losses) == {"perceptual", "output", "grid", "blocking"}
        assert {k: (c.real, c.init) for k, c in transfer.critics.items()} == critics
        assert strategy.stages["finetune"] == finetune and not any(
            LOSSES[k].distills for k in finetune.losses
        )


@pytest.mark.parametrize("verb", ["train", "distill", "finetune", "mutual"])
def test_a_verbs_choices_are_the_tables(verb):
    choices = get_args(get_type_hints(getattr(srkd, verb))["strategy"])
    assert set(choices) == {name for name, strategy in STRATEGIES.items() if strategy.verb == verb}


@pytest.mark.parametrize("verb", ["show_config", "estimate"])
def test_what_is_shown_or_measured_can_be_any_strategy(verb):
    assert get_type_hints(getattr(srkd, verb))["strategy"] == StrategyName
    assert set(get_args(StrategyName)) == set(STRATEGIES)
