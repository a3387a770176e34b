"""Recipes: those that come with the package, and those that cannot be."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

import srkd
from srkd.cli import main
from srkd.degradation import Degradation
from srkd.recipe import VERB_OPTIONS, Recipe, RunOptions, make_recipe

RECIPES = Path(srkd.__file__).parent / "recipes"


@pytest.mark.parametrize(
    "recipe", sorted(path.stem for path in RECIPES.glob("*.yaml") if not path.stem.startswith("compare"))
)
def test_shipped_recipes_resolve(capsys, recipe):
    arguments = {**srkd.load_recipe(recipe), "seed": 5}
    own = "start" not in arguments
    if own:
        arguments["model_options"] = {"residual_init": 0.5}
    shown = srkd.show_config(**arguments)
    assert "seed: 5" in shown and ("residual_init: 0.5" in shown) == own


def test_a_recipe_keeps_paths_as_texts_and_makes_numbers_of_yaml():
    recipe = Recipe(Path("a") / "b", "pretrain", teacher=(Path("t.pth"), "u.pth"), clip="1e-1")
    assert recipe.data == str(Path("a/b")) and recipe.teacher == ["t.pth", "u.pth"] and recipe.clip == 0.1
    assert Recipe("a", "pretrain", teacher=Path("t.pth")).teachers == ["t.pth"]
    assert Recipe("a", "pretrain", teacher=["t.pth"]) == Recipe("a", "pretrain", teacher="t.pth")
    again = Recipe(**yaml.safe_load(recipe.to_yaml()))
    assert again.resolve() == recipe.resolve() and replace(again, stages={}) == recipe


def test_every_option_of_a_recipe_is_one_of_the_verbs():
    named = {"data", "strategy", "model"}
    options = set(RunOptions.__annotations__) - VERB_OPTIONS
    assert options == {field.name for field in fields(Recipe)} - named
    described = RunOptions.__doc__ or ""
    assert all(f"        {name}: " in described or f"    {name}: " in described for name in options)


def test_verbs_give_recipes_their_strategys_model_and_members():
    assert make_recipe("x", "srgan", None, {}).model == "srgan_teacher"
    assert make_recipe("x", "srgan", None, {"start": "w"}).model is None
    assert make_recipe("x", "srgan", "span_s", {}).model == "span_s"
    assert make_recipe("x", "g2g_al", None, {}).model is None
    assert make_recipe("x", "mutual", None, {}).members == 2
    assert make_recipe("x", "mutual", None, {"members": 1, "critics": 2}).members == 1
    assert make_recipe("x", "mutual", None, {}).out == "runs/mutual"


def test_unknown_keys_in_a_recipe(fails, tmp_path, photos):
    recipe = tmp_path / "r.yaml"
    for text, message in (
        ("sed: 3", "unknown key 'sed'"),
        ("stages: {gan: {losses: {l1: {wait: 1}}}}", "unknown key 'wait'"),
        ("- a\n- b", "must be a mapping"),
        ("a: [", "not valid YAML"),
        ("stages: 3", "stages"),
    ):
        recipe.write_text(text)
        assert message in fails(2, "train", photos, "--config", recipe, "--out", tmp_path / "run")


def test_a_degradation_is_a_preset_or_what_differs_from_one(tmp_path, capsys):
    """Spelled as a word, as a mapping, in single fields or in full, equal ones are equal."""
    assert Recipe("a", "pretrain").mix is None and Recipe("a", "pretrain", degradation="none").mix is None
    real = Recipe("a", "pretrain", degradation="real")
    assert real.mix == Degradation() and real == Recipe("a", "pretrain", degradation={"preset": "real"})
    web = Recipe("a", "pretrain", degradation={"preset": "web", "clean": 0.2, "noise_prob": 0})
    assert web.degradation == {"preset": "web", "clean": 0.2} and web.mix.jpeg_range == (40, 95)
    words = [
        "config",
        "a",
        "--strategy",
        "pretrain",
        "--degradation",
        "web",
        "--set",
        "degradation.clean=0.2",
    ]
    assert main(words) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert yaml.safe_load(printed.read_text())["degradation"]["blur_sigma"] == [0.2, 0.8]
    assert Recipe(**yaml.safe_load(printed.read_text())).degradation == web.degradation
    assert main(["config", "--config", str(printed), "--set", "degradation.blur_sigma=[0.2, 5]"]) == 0
    changed = Recipe(**yaml.safe_load(capsys.readouterr().out)).degradation
    assert changed == {"preset": "web", "clean": 0.2, "blur_sigma": (0.2, 5.0)}
    assert main(["config", "a", "--strategy", "pretrain", "--set", "degradation.clean=1"]) == 0
    assert Recipe(**yaml.safe_load(capsys.readouterr().out)).degradation == {"preset": "real", "clean": 1.0}
