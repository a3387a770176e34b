"""Every public verb, called from Python with what people pass: paths as texts, lists, wrong types."""

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import srkd
from srkd import SrkdError, UsageError
from srkd.cli import find_commands
from srkd.commands import quickstart
from srkd.commands.comparing import checks
from srkd.exports import writing
from srkd.recipe import RunOptions
from srkd.training import run as run_module


class Odd:
    pass


WRONG = [
    *(-1, 3.5, math.nan, "no such", "", "a\0b", ["x"], [3], {"a": 1}, None, b"x", True),
    *(Odd(), Odd, np.zeros((4, 4, 3), np.uint8)),
]
VERBS = {place.partition(":")[2]: name for name, place in find_commands().items()}
# How each is called with small things: `out` is a new name each time.
CALLS: dict[str, dict[str, Any]] = {
    "upscale": {"images": "photo", "out": "new.png", "weights": "weights"},
    "evaluate": {"model": "bicubic", "data": "photos", "lpips": "none"},
    "export": {"weights": "weights", "out": "new.safetensors", "format": "safetensors"},
    "interpolate": {"first": "weights", "second": "weights", "out": "new.safetensors"},
    "card": {"weights": "weights", "out": "new.md"},
    **{verb: {"data": "photos", "out": "new"} for verb in ("train", "distill", "mutual")},
    "finetune": {"data": "photos", "out": "new", "start": "weights"},
    "extend": {"weights": "weights", "data": "photos", "out": "new", "crop": 32},
    "compare": {"recipe": "compare_critics", "data": "photos", "out": "new", "lpips": "none"},
    "prepare": {"data": "photos", "out": "new"},
    "degrade": {"data": "photos", "out": "new"},
    "list_runs": {"folder": "photos"},
    "stop": {"run": "photos"},
    "profile": {"out": "new"},
    "compress": {"teacher": "weights", "data": "photos", "out": "new", "budget": "60kparams"},
    "estimate": {"data": "photos", "strategy": "pretrain", "model": "srgan_tiny", "crop": 32, "batch": 2},
    "show_config": {"data": "photos"},
    "list_models": {},
    "list_taps": {"model": "srgan_tiny"},
    "list_backends": {},
    "quickstart": {"out": "new"},
}

# What these verbs say when all is right: runs end before their first step, and photographs are no run.
TRAIN = ("train", "distill", "mutual", "finetune", "extend", "compare", "quickstart")
COMPLAINTS = {
    **dict.fromkeys(TRAIN, "nothing is trained"),
    **{"list_runs": "holds no runs", "stop": "holds no run", "compress": "are too few"},
}


@pytest.fixture
def arguments(photos, weights, tmp_path, monkeypatch) -> Callable[..., dict[str, Any]]:
    """A verb's arguments, with paths of a kind. Runs end before their first step."""

    def stop(*_, **__):
        raise UsageError("nothing is trained")

    monkeypatch.setattr(run_module, "run", stop)
    monkeypatch.setattr(quickstart, "compress", stop)
    monkeypatch.setattr(checks, "rehearse", stop)
    monkeypatch.setattr(writing, "write_draft", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    places = {"photos": photos, "photo": photos / "coffee_0.png", "weights": weights}
    count = iter(range(10_000))

    def make(verb: str, kind: Callable[[Path], Any] = Path) -> dict[str, Any]:
        found = {}
        for key, value in CALLS[verb].items():
            if value in places:
                found[key] = kind(places[value])
            elif key == "out":
                found[key] = kind(tmp_path / value.replace("new", f"new{next(count)}"))
            else:
                found[key] = value
        return found

    return make


def outcome(verb: str, given: dict[str, Any]) -> str:
    """What comes of a call: nothing, or one line of complaint. All else fails the test."""
    try:
        getattr(srkd, verb)(**given, verbose=False)
        return ""
    except SrkdError as error:
        assert len(str(error).splitlines()) == 1, error
        return str(error)


def test_every_verb_is_called_here():
    # `critic` trains for real, whatever the run does; `demo` serves until it is interrupted.
    assert set(CALLS) == set(VERBS) - {"critic", "demo"}


@pytest.mark.parametrize("verb", CALLS)
def test_paths_are_texts_or_paths(verb, arguments):
    said = {kind: outcome(verb, arguments(verb, kind)) for kind in (str, Path)}
    expected = COMPLAINTS.get(verb, "")
    assert all(expected in text and bool(text) == bool(expected) for text in said.values()), said


@pytest.mark.parametrize("verb", CALLS)
def test_wrong_types_are_one_line(verb, arguments):
    """One argument wrong at a time, options of a recipe included. A path is refused by its name."""
    parameters = inspect.signature(getattr(srkd, verb)).parameters
    names = [name for name in parameters if name not in ("verbose", "progress", "options")]
    if verb == "distill":  # for all that take a recipe's options
        names += RunOptions.__annotations__
    for name in names:
        for value in WRONG:
            said = outcome(verb, {**arguments(verb), name: value})
            path = CALLS[verb].get(name) in ("photos", "weights", "new")
            if path and value is not None and not isinstance(value, str | list):
                assert re.search(rf"{name} must be a path|expected a text", said), (name, value, said)


@pytest.mark.parametrize("number", [1, 2])
def test_lists_are_taken_where_several_fit(number, photos, weights, tmp_path, arguments, networks):
    images = [photos / "coffee_0.png", str(photos / "rocket_0.png")][:number]
    assert len(srkd.upscale(images, tmp_path / "out", weights=weights, verbose=False)) == number
    teachers = [weights, str(networks["lr"])][:number]
    given = {**arguments("distill"), "teacher": teachers}
    assert outcome("distill", given) == "nothing is trained"
    given = {**arguments("compare"), "teacher": teachers, "test": [photos], "lpips": "none"}
    assert outcome("compare", given) == "nothing is trained"
    said = outcome("compare", {**arguments("compare"), "test": [photos, 3]})
    assert said == "each of test must be a path, not an int"
