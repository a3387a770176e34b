"""Every distillation loss as a method of its own."""

import numpy as np
import pytest
from conftest import SHORT, read_log, same

import srkd
from srkd import create_generator, load_generator
from srkd.config import load_recipe
from srkd.losses import LOSSES

METHODS = [name for name, kind in LOSSES.items() if kind.distills]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_recipe_that_runs(photos, teacher, tmp_path, method):
    """Trained alone its loss falls; its own parts are gone from the weights."""
    recipe = load_recipe(method)
    # Fewer where each passes through a large trunk.
    steps = 15 if method == "contrastive" else 50
    stage = "extend" if method == "forgetting" else "pretrain"
    weight = recipe["stages"][stage]["losses"][method]
    arguments = {
        **recipe,
        **{"data": str(photos), "out": str(tmp_path / "run"), "crop": 32, "batch": 4, "steps": steps},
        "validate_every": steps,
        "stages": {stage: {"rate": 2e-3, "losses": {method: weight, "l1": None}}},
    }
    if method != "forgetting":
        arguments.setdefault("model", "srgan_tiny")
        arguments["teacher"] = str(teacher / "gan.safetensors")
    else:
        # Held to its start on one domain while the other pulls: it falls once the pull has moved it.
        arguments["stages"][stage]["losses"]["l1"] = {"weight": 0.1}
    result = srkd.train(**arguments)
    losses = [entry["losses"][method] for entry in read_log(result.folder) if "losses" in entry]
    if method == "forgetting":
        assert max(losses) > losses[0]
    else:
        assert np.mean(losses[-5:]) < 0.97 * np.mean(losses[:3]), losses
    model = load_generator(result.weights[stage])
    assert set(model.state_dict()) == set(create_generator(**model.config).state_dict())


def test_a_method_switched_off_is_the_control_bit_for_bit(photos, teacher, tmp_path):
    options = {"model": "srgan_tiny", "strategy": "pretrain", **SHORT, "steps": 4}
    losses = {name: {} for name in METHODS if name not in ("ensemble", "forgetting")}
    control = srkd.train(
        str(photos),
        out=str(tmp_path / "control"),
        control=True,
        stages={"pretrain": {"losses": losses}},
        **options,
    )
    plain = srkd.train(str(photos), out=str(tmp_path / "plain"), **options)
    assert same(control.weights["pretrain"], plain.weights["pretrain"])
    for name in losses:
        options["teacher"] = str(teacher / "gan.safetensors")
        found = srkd.train(
            str(photos), out=str(tmp_path / name), stages={"pretrain": {"losses": {name: {}}}}, **options
        )
        assert not same(found.weights["pretrain"], plain.weights["pretrain"])
