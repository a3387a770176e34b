"""A `srkd compress` of seconds."""

from dataclasses import replace

import pytest

from srkd.commands.compressing import photographs, recipes, training
from srkd.commands.compressing import teacher as teacher_module
from srkd.models import GENERATORS
from srkd.search import measuring, timing


@pytest.fixture
def quick(monkeypatch):
    """Few and small candidates, windows and steps."""
    monkeypatch.setattr(GENERATORS["span"][0], "variants", {})
    monkeypatch.setattr(GENERATORS["srgan"][0], "variants", {})
    monkeypatch.setattr(GENERATORS["compact"][0], "variants", {"channels": (8, 12), "convs": (2, 3)})
    monkeypatch.setattr(teacher_module, "WINDOWS", 1)
    monkeypatch.setattr(photographs, "FEWEST", 8)
    monkeypatch.setattr(photographs, "MOST", 8)
    monkeypatch.setattr(photographs, "HELD", 2)
    monkeypatch.setattr(measuring, "SUSTAINED", 0.0)
    monkeypatch.setattr(timing, "TURNS", 2)

    def plan(_settings, phases, *_args):
        return [
            {
                "phase": p.name,
                "steps": {n: 3 for n, s in p.stages.items() if s is not None},
                "seconds_per_step": {},
            }
            | {"save_every": 2}
            for p in phases
        ]

    monkeypatch.setattr(training, "plan_steps", plan)
    for name, phases in recipes.RECIPES.items():
        monkeypatch.setitem(recipes.RECIPES, name, tuple(shrink(phase) for phase in phases))


def shrink(phase):
    """The phase with small crops, batches and critics."""
    stages = {}
    for name, changes in phase.stages.items():
        stages[name] = changes and {**changes, "batch": 2, "crop": 64}
        for critic in (changes or {}).get("critics", {}):
            own = {**changes["critics"][critic]}
            own["options"] = {**own.get("options", {}), "channels": 4}
            stages[name]["critics"] = {**stages[name]["critics"], critic: own}
    return replace(phase, stages=stages)
