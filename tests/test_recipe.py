"""Recipes: those that come with the package, and those that cannot be."""

from pathlib import Path

import pytest

import srkd
from srkd.cli import main

RECIPES = Path(srkd.__file__).parent / "recipes"


@pytest.mark.parametrize(
    "recipe", sorted(path.stem for path in RECIPES.glob("*.yaml") if not path.stem.startswith("compare"))
)
def test_shipped_recipes_resolve(capsys, recipe):
    verb = "train" if srkd.load_recipe(recipe)["strategy"] in ("srgan", "pretrain", "extend") else "distill"
    words = ["--config", recipe, "--print_config", "--seed", "5", "--model_options.residual_init", "0.5"]
    assert main([verb, *words]) == 0
    shown = capsys.readouterr().out
    assert "seed: 5" in shown and "residual_init: 0.5" in shown


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
