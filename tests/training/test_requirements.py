"""What is refused before the first step."""

import pytest
import torch
from conftest import SHORT, critic, make_batch, make_state, pretrain, run_strategy

import srkd
from srkd import SrkdError, UsageError, create_generator, save_generator
from srkd.config import Loss, Mutual, Stage
from srkd.losses import LOSSES
from srkd.losses.base import GeneratorLoss
from srkd.training import teachers
from srkd.training.gradients import check_gradients


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda view: (view.sr * 0).sum(), "zero gradient"),
        (lambda view: view.hr.mean(), "no gradient at all"),
    ],
)
def test_a_loss_without_effect_is_refused_by_name(monkeypatch, function, message):
    class Idle(GeneratorLoss):
        def forward(self, view):
            return function(view)

    monkeypatch.setitem(LOSSES, "idle", Idle)
    state = make_state(Stage(losses={"l1": Loss(), "idle": Loss()}))
    with pytest.raises(UsageError, match=f"'idle'.*{message}"):
        check_gradients(state, *make_batch())


def test_a_loss_that_is_not_finite_is_refused_by_name():
    state = make_state(Stage(losses={"l1": Loss()}))
    lr, hr = make_batch()
    with pytest.raises(UsageError, match=r"'l1'.*not finite"):
        check_gradients(state, lr * torch.nan, hr)


def test_a_zero_weight_at_the_start_is_no_reason_to_refuse():
    stage = Stage(
        losses={"l1": Loss(), "mse": Loss(0.0, "linear", 1.0)},
        critics={"hr": critic(weight=0.1)},
        mutual=Mutual(),
    )
    check_gradients(make_state(stage, networks=2), *make_batch())


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"finetune": {"critics": {"hr": {"weight": 0.0}}}}, "feeds nobody"),
        (
            {"finetune": {"mutual": {"weight": 0.1}, "critics": {"hr": {"gan": "hinge"}}}},
            "probability logits",
        ),
        ({"finetune": {"losses": {"l4": {"weight": 1.0}}}}, "unknown loss 'l4'"),
        ({"finetune": {"stepz": 3}}, "unknown key 'stepz'"),
        ({"finetune": {"steps": "many"}}, "expected int"),
        ({"finetune": {"critics": {"hr": {"gan": "wasserstein"}}}}, "vanilla"),
        ({"finetune": {"optimizer": "foo"}}, "stages.finetune.optimizer: 'foo' is not one of adam, muon"),
        ({"finetoon": {}}, "unknown stage"),
        ({"finetune": {"crop": 33}}, "multiple of the scale"),
        ({"finetune": {"crop": 1000}}, "smaller than a crop"),
        ({"finetune": {"crop": 16}}, "32x32"),
    ],
)
def test_impossible_recipes_are_refused_before_training(photos, teacher, tmp_path, stages, message):
    out = tmp_path / "run"
    with pytest.raises(UsageError, match=message):
        srkd.finetune(
            str(photos),
            start=str(teacher / "pretrain.safetensors"),
            model="srgan_tiny",
            out=str(out),
            stages=stages,
            batch=2,
        )
    assert not out.exists()


def test_a_loss_that_needs_a_teacher_where_none_is_given_or_shipped(photos, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(teachers, "list_shipped", dict)
    with pytest.raises(UsageError, match="give --teacher FILE"):
        srkd.finetune(
            str(photos),
            start=str(teacher / "pretrain.safetensors"),
            model="srgan_tiny",
            out=str(tmp_path / "run"),
            stages={"finetune": {"losses": {"output": {}}, "steps": 1}},
            batch=2,
        )


def test_gan2gan_without_the_teachers_discriminator_is_refused(photos, teacher, tmp_path):
    with pytest.raises(UsageError, match="--teacher-discriminator"):
        run_strategy(
            photos, teacher, tmp_path / "run", "gan2gan", teacher=str(teacher / "pretrain.safetensors")
        )


def test_a_teacher_of_another_scale_is_refused(photos, teacher, tmp_path):
    with pytest.raises(UsageError, match="x4, the student x2"):
        run_strategy(photos, teacher, tmp_path / "run", "gan2g", scale=2, start=None)


def test_start_weights_of_another_architecture_are_refused(photos, teacher, tmp_path):
    with pytest.raises(UsageError, match="another architecture"):
        run_strategy(photos, teacher, tmp_path / "run", "gan2g", model="compact_s")


def test_a_batch_that_cannot_be_divided_is_refused(photos, tmp_path):
    with pytest.raises(UsageError, match="cannot be cut into 3 parts"):
        pretrain(photos, tmp_path / "run", accumulate=3)


def test_what_is_refused_at_once_leaves_no_folder(photos, tmp_path):
    looks = {"stages": {"pretrain": {"losses": {"output": {}}}}}
    for data, words, message in (
        ("nowhere", {}, "there is no folder nowhere"),
        (photos, {"teacher": "nowhere", **looks}, "no weights file nowhere"),
    ):
        with pytest.raises(UsageError, match=message):
            pretrain(data, tmp_path / "runs" / "deep" / "run", tensorboard=True, **words)
        assert not list(tmp_path.iterdir())


def test_an_unwritable_folder_is_refused(photos, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SrkdError, match="cannot"):
        pretrain(photos, tmp_path / "file" / "run")


def test_teachers_that_do_not_fit(photos, packed, teacher, tmp_path):
    torch.manual_seed(0)
    double = save_generator(create_generator("srgan_tiny", 2), tmp_path / "x2.safetensors")
    with pytest.raises(UsageError, match=r"x2, and .* is packed for x4"):
        srkd.prepare(str(photos), str(packed), teacher=str(double))
    with pytest.raises(UsageError, match="no weights file"):
        srkd.prepare(str(photos), str(packed), teacher="nobody.pth")
    options = {**SHORT, "model": "srgan_tiny", "out": str(tmp_path / "run")}
    file = str(teacher / "pretrain.safetensors")
    with pytest.raises(UsageError, match="given twice"):
        srkd.distill(str(photos), strategy="gan2g", teacher=[file, file], **options)
    with pytest.raises(UsageError, match="x2, the student x4"):
        srkd.distill(str(photos), strategy="gan2g", teacher=[file, str(double)], **options)
