"""`srkd compare`."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import same
from scipy import stats

import srkd
from srkd import UsageError
from srkd.cli import main
from srkd.commands.comparing import runs as comparing
from srkd.config import load_recipe
from srkd.losses import LOSSES
from srkd.metrics.bjontegaard import bd_difference
from srkd.metrics.intervals import BETTER, EQUAL, paired_interval, tell_apart
from srkd.recipe import Recipe


@pytest.fixture
def base(photos, tmp_path):
    file = tmp_path / "base.yaml"
    file.write_text(
        f"{{data: '{photos}', strategy: pretrain, model: srgan_tiny, crop: 32, batch: 2, steps: 4, "
        "methods: {strong: {stages: {pretrain: {losses: {self: {weight: 1.0}}}}}}}"
    )
    return file


def test_paired_intervals_are_students_t():
    """The textbook's: mean 2, deviation 1, three pairs."""
    found = paired_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert found["mean"] == pytest.approx(2) and found["half_width"] == pytest.approx(
        4.302653 / 3**0.5, rel=1e-5
    )
    assert paired_interval([2.0], [1.5]) == {"mean": 0.5, "half_width": None}
    assert paired_interval([2.0, 3.0], [1.5, 2.5]) == {"mean": 0.5, "half_width": 0.0}
    rng = np.random.default_rng(0)
    for count in (2, 3, 5):
        one, other = rng.normal(30, 1, (2, count))
        gaps = one - other
        width = stats.t.ppf(0.975, count - 1) * gaps.std(ddof=1) / count**0.5
        assert paired_interval(one, other)["half_width"] == pytest.approx(width, abs=1e-12)


def test_what_is_not_finite_tells_nothing_apart():
    for one in (np.inf, np.nan):
        gap = paired_interval([30.0, one, 31.0], [29.0, 29.5, 30.0])
        assert tell_apart(gap, True) == tell_apart(gap, False) == EQUAL
    assert tell_apart({"mean": 1.0, "half_width": 0.5}, True) == BETTER


def test_a_comparison_pairs_methods_with_their_controls(base, tmp_path, compare_untrained, capfd):
    out = tmp_path / "out"
    controls, _ = compare_untrained(base, "strong", "hint", seeds=2, teacher="t", out=str(out))
    assert controls == {"control": None, "strong": "control", "hint": "control"}
    # Whole figures, in 80 columns.
    said = capfd.readouterr().out
    assert "method" in said and "…" not in said
    found = json.loads((out / "compare.json").read_text())
    rows = {row["method"]: row for row in found["rows"]}
    assert found["seeds"] == 2 and all(row["seconds"] == [60, 60] for row in rows.values())
    assert found["protocol"] == "y-crop4"
    gaps = np.subtract(rows["hint"]["psnr"], rows["control"]["psnr"])
    assert rows["hint"]["difference"]["psnr"]["mean"] == pytest.approx(gaps.mean()) != 0
    assert (out / "compare.png").stat().st_size > 5000 and "| hint |" in (out / "compare.md").read_text()


def test_a_quiet_comparison_prints_nothing_and_counts_its_runs(base, tmp_path, compare_untrained, capfd):
    counts = []
    for jobs in (1, 2):
        options = {"teacher": "t", "out": tmp_path / f"out{jobs}", "jobs": jobs, "verbose": False}
        compare_untrained(base, "strong", progress=lambda *found: counts.append(found), **options)
    counts = [found for found in counts if found[0] == "comparing"]
    assert counts == [("comparing", 1, 2), ("comparing", 2, 2)] * 2
    assert capfd.readouterr().out == "" and (tmp_path / "out1" / "compare.md").is_file()


def test_a_comparison_goes_on_unless_its_recipe_changed(base, tmp_path, compare_untrained):
    options = {"seeds": 2, "teacher": "t", "out": str(tmp_path / "out")}
    compare_untrained(base, "strong", "hint", **options)
    found = (tmp_path / "out" / "compare.json").read_text()
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*.safetensors")}
    (tmp_path / "out" / "hint-1" / "result.json").unlink()
    (tmp_path / "out" / "compare.json").unlink()
    compare_untrained(base, "strong", "hint", **options)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*.safetensors")}
    assert (tmp_path / "out" / "compare.json").read_text() == found
    base.write_text(base.read_text().replace("weight: 1.0", "weight: 2.0"))
    with pytest.raises(UsageError, match="another recipe"):
        compare_untrained(base, "strong", "hint", **options)


def test_runs_of_a_comparison_are_trained_as_they_would_be_alone(base, photos, teacher, tmp_path, capfd):
    """One by one and two at a time; what goes wrong is named."""
    words = ["compare", str(base), "--methods", "hint", "--seeds", "1", "--out", str(tmp_path / "one")]
    words += ["--teacher", str(teacher / "pretrain.safetensors")]
    assert main(words) == 0
    rows = json.loads((tmp_path / "one" / "compare.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["control", "hint"]
    assert all(min(row["seconds"]) > 0 and min(row["memory"]) > 2**20 for row in rows)
    options = {"strategy": "pretrain", "model": "srgan_tiny", "crop": 32, "batch": 2, "steps": 4}
    plain = srkd.train(str(photos), out=str(tmp_path / "plain"), **options)
    assert same(plain.weights["pretrain"], tmp_path / "one" / "control-0" / "pretrain.safetensors")
    both = tmp_path / "both"
    words += ["--jobs", "2", "--out", str(both)]
    assert main(words) == 0
    for name in ("control-0", "hint-0"):
        weights = Path(name) / "pretrain.safetensors"
        assert same(tmp_path / "one" / weights, both / weights), name
    assert "pretrain 4/4" in (both / "hint-0.log").read_text()
    shutil.rmtree(both / "hint-0")
    (both / "hint-0").write_text("in the way")
    assert main(words) == 1 and f"see {both / 'hint-0.log'}" in capfd.readouterr().err


def test_plans_share_controls_where_they_are_the_same(base, compare_untrained):
    methods = ["strong", "hint", "gan2g", "g2g_al", "gan2g_al", "gan2gan"]
    controls, _ = compare_untrained(base, *methods)
    assert controls["strong"] == controls["hint"] == "control"
    assert controls["gan2g"] == controls["g2g_al"] == "control_gan2g"
    assert controls["gan2g_al"] == controls["gan2gan"] == "control_gan2g_al"
    assert controls.keys() == {*methods, "control", "control_gan2g", "control_gan2g_al"}


def test_what_distils_nothing_or_is_no_method_is_refused(base, tmp_path):
    for name, message in (("srgan", "distils nothing"), ("no_such_method", "there is no recipe")):
        with pytest.raises(UsageError, match=message):
            srkd.compare(str(base), str(tmp_path / "out"), methods=name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("[hint, attention]", "methods are a mapping"),
        ("{one: 3}", "method one is a mapping of what it changes, not 3"),
        ("{one: {data: elsewhere, seed: 3}}", "method one: data, seed cannot differ between methods"),
        ("{one: {scale: 4}, two: {scale: 2}}", "scores of x2 and x4 cannot be compared"),
    ],
)
def test_methods_that_cannot_be_compared(base, tmp_path, methods, message):
    file = tmp_path / "odd.yaml"
    file.write_text(base.read_text().split("methods:")[0] + f"methods: {methods}}}")
    with pytest.raises(UsageError, match=message):
        srkd.compare(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["compare_hint_schedules", "compare_critics", "compare_adversaries"])
def test_shipped_comparisons_can_be_planned(name, compare_untrained):
    controls, recipes = compare_untrained(name, teacher="t")
    methods = load_recipe(name)["methods"]
    assert set(methods) < set(controls) and any(controls.values())
    for label, recipe in recipes.items():
        distils = any(LOSSES[loss].distills for stage in recipe.resolve().values() for loss in stage.losses)
        assert not (recipe.control and distils) and (label in methods) == (not recipe.control)


@pytest.fixture
def mutual(tmp_path):
    """Of variants of mutual distillation."""
    file = tmp_path / "mutual.yaml"
    recipe = {"strategy": "mutual", "start": "srgan_student_lite_psnr", "steps": 4, "crop": 32}
    recipe["methods"] = {"one": {"strategy": "finetune"}, "two": {"critics": 2}, "control": {"critics": 3}}
    file.write_text(yaml.safe_dump(recipe))
    return file


def test_a_teacher_that_nothing_looks_at_makes_no_method_of_a_plain_run(mutual, compare_untrained):
    for options in ({}, {"teacher": "t"}):
        controls, _ = compare_untrained(mutual, "one", "two", **options)
        assert list(controls.items()) == [("one", None), ("control", None), ("two", "control")]


def test_methods_are_named_once_and_stay_in_the_folder(mutual, tmp_path, compare_untrained):
    file = tmp_path / "mine.v2.yaml"
    file.write_text("{strategy: pretrain, crop: 32, stages: {pretrain: {losses: {self: {}}}}}")
    controls, _ = compare_untrained(mutual, str(file))
    assert list(controls.items()) == [("control", None), ("mine.v2", "control")]
    for names in (["two", "two"], ["control", "two"]):
        with pytest.raises(UsageError, match=f"named {names[0]}"):
            compare_untrained(mutual, *names)


def test_ctrl_c_waits_for_the_run_to_save(base, tmp_path, monkeypatch, capfd):
    """The run's process, which saves for a while, sends Ctrl-C to both as a terminal would."""
    script = tmp_path / "python"
    lines = [
        f"#!{sys.executable}",
        "import os, signal, sys, time",
        "def save(*_):",
        "    time.sleep(0.3)",
        "    open(sys.argv[-2] + '.saved', 'w').close()",
        "    os._exit(130)",
        "signal.signal(signal.SIGINT, save)",
        "os.kill(os.getppid(), signal.SIGINT)",
        "os.kill(os.getpid(), signal.SIGINT)",
        "time.sleep(60)",
    ]
    script.write_text("\n".join(lines))
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(KeyboardInterrupt):
        srkd.compare(str(base), str(tmp_path / "out"), seeds=1)
    assert (tmp_path / "out" / "control-0.yaml.saved").exists()
    assert not list((tmp_path / "out").glob("strong*"))
    said = capfd.readouterr().out
    assert "run the same command again to resume" in said and "--resume" not in said


def test_scores_are_of_images_made_as_training_was(base, tmp_path, compare_untrained):
    """With a degradation, the validation images of a comparison are degraded too."""
    psnr = {}
    for kind in ("none", "real"):
        out = tmp_path / kind
        base.write_text(base.read_text().replace("{data:", f"{{degradation: {kind}, data:"))
        compare_untrained(base, out=str(out))
        (psnr[kind],) = json.loads((out / "compare.json").read_text())["rows"][0]["psnr"]
        base.write_text(base.read_text().replace(f"degradation: {kind}, ", ""))
    assert psnr["real"] < psnr["none"] - 1


def test_methods_that_cannot_be_trained_are_all_named_before_the_first_step(
    base, onnx_file, tmp_path, teacher
):
    """An ONNX file has no features, and nobody gave a discriminator; what can be trained is not begun."""
    with pytest.raises(UsageError, match=r"^2 of 5 methods and controls cannot be trained") as caught:
        srkd.compare(
            base, tmp_path / "out", methods="strong,hint,output,discriminator", teacher=onnx_file, seeds=2
        )
    assert "hint: " in str(caught.value) and "discriminator: " in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 and not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="there is no weights file"):
        srkd.compare(base, tmp_path / "out", methods="output", teacher="nothing")
    # A control needs no teacher, and so is never the one to blame.
    assert "control" not in str(caught.value).replace("methods and controls", "")


REFUSED = [
    ({"lpips": "nope"}, "unknown LPIPS variant 'nope'; choose from: st-lpips-alex"),
    ({"lpips": "st-lpips-alex,st-lpips-vgg"}, "unknown LPIPS variant"),
    ({"lpips": 3}, "lpips must be a text, not an int"),
    ({"curves": True, "lpips": "none"}, "give --lpips a variant"),
    ({"curves": True}, "need a PSNR-trained start"),
    ({"test": "nowhere"}, "no folder"),
    ({"seeds": 0}, "--seeds must be a whole number of at least 1"),
    ({"jobs": "2"}, "--jobs must be a whole number"),
    ({"out": 3}, "out must be a path, not an int"),
    ({"recipe": ["x"]}, "recipe must be a path, not a list"),
    ({"methods": ["strong"]}, "methods must be a text, not a list"),
    ({"steps": "many"}, "steps: expected int, not 'many'"),
    ({"data": "nowhere"}, "no folder"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_what_is_wrong_is_said_before_the_first_step(base, tmp_path, monkeypatch, options, message):
    monkeypatch.setattr(sys, "executable", "/nothing/is/trained")
    with pytest.raises(UsageError, match=message) as caught:
        srkd.compare(**{"recipe": base, "out": tmp_path / "out", **options})
    assert len(str(caught.value).splitlines()) == 1 and not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_found_before_the_first_step(base, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nothing/is/trained")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(srkd.SrkdError, match="is a file, not a folder"):
        srkd.compare(base, tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "precious"


def test_two_benchmark_sets_of_one_name_are_refused(base, photos, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / photos.name).symlink_to(photos)
    with pytest.raises(UsageError, match="two benchmark sets are named photos"):
        srkd.compare(base, tmp_path / "out", test=[photos, tmp_path / "other" / photos.name])


def test_a_comparison_without_lpips(base, tmp_path, compare_untrained, capfd):
    compare_untrained(base, "strong", "hint", lpips="none", seeds=2, teacher="t", out=str(tmp_path / "out"))
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert all("lpips" not in row for row in found["rows"])
    text = (tmp_path / "out" / "compare.md").read_text() + capfd.readouterr().out
    assert "difference in PSNR" in text and "LPIPS" not in text and "lpips" not in text


def test_one_seed_speaks_of_no_interval(base, tmp_path, compare_untrained, capfd):
    compare_untrained(base, "strong", seeds=1, out=str(tmp_path / "out"))
    text = (tmp_path / "out" / "compare.md").read_text() + capfd.readouterr().out
    assert "interval" not in text and "confidence" not in text and "±" not in text
    assert "strong: PSNR " in text and "with one seed, which may be chance" in text


def test_benchmark_sets_are_scored_at_the_end_and_once(
    base, photos, tmp_path, compare_untrained, monkeypatch
):
    options = {"seeds": 2, "out": str(tmp_path / "out"), "test": [photos]}
    compare_untrained(base, "strong", **options)
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    rows = {row["method"]: row for row in found["rows"]}
    for label in rows:
        weights = tmp_path / "out" / f"{label}-1" / "pretrain.safetensors"
        mean = srkd.evaluate(weights, photos, device="cpu")["mean"]
        scores = rows[label]["test"][photos.name]
        assert scores["psnr"][1] == pytest.approx(mean["psnr"])
        assert scores["lpips"][1] == pytest.approx(mean["st-lpips-alex"])
    gap = rows["strong"]["test"][photos.name]["difference"]["psnr"]["mean"]
    assert gap == pytest.approx(
        np.subtract(*(rows[label]["test"][photos.name]["psnr"] for label in ("strong", "control"))).mean()
    )
    bicubic = srkd.evaluate("bicubic", photos, lpips="none")["mean"]["psnr"]
    assert found["bicubic"]["test"][photos.name]["psnr"] == pytest.approx(bicubic)
    assert f"{photos.name}:" in (tmp_path / "out" / "compare.md").read_text()
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/result.json")}
    compare_untrained(base, "strong", **options)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/result.json")}


def test_steps_are_those_of_every_stage_whatever_the_recipe_says(base, tmp_path, compare_untrained):
    base.write_text(base.read_text().replace("{self: {weight: 1.0}}", "{self: {weight: 1.0}}, steps: 9"))
    options = {"out": str(tmp_path / "out"), "seeds": 1}
    _, recipes = compare_untrained(base, "strong", **options)
    assert {recipe.resolve()["pretrain"].steps for recipe in recipes.values()} == {9}
    options["out"] = str(tmp_path / "short")
    _, recipes = compare_untrained(base, "strong", **options, steps=3)
    assert {recipe.resolve()["pretrain"].steps for recipe in recipes.values()} == {3}


def test_curves_go_from_the_start_to_the_end_and_resume(teacher, photos, tmp_path, monkeypatch):
    """Trained for real, since the weights between must be of one network."""
    file, start = tmp_path / "curves.yaml", teacher / "pretrain.safetensors"
    small = {name: {"critics": {"hr": {"options": {"channels": 4}}}} for name in ("finetune",)}
    recipe = {"strategy": "gan2g", "start": str(start), "steps": 3, "crop": 32, "batch": 2, "stages": small}
    recipe |= {"data": str(photos), "teacher": str(teacher / "gan.safetensors"), "methods": {"gan2g": {}}}
    file.write_text(yaml.safe_dump(recipe))
    out, scored = tmp_path / "out", []
    score_network = comparing.score_network

    def interrupted(*arguments):
        scored.append(arguments)
        if len(scored) == 5:
            raise KeyboardInterrupt
        return score_network(*arguments)

    monkeypatch.setattr(comparing, "score_network", interrupted)
    with pytest.raises(KeyboardInterrupt):
        srkd.compare(file, out, seeds=1, curves=True)
    assert len(json.loads((out / "control-0" / "result.json").read_text())["curve:st-lpips-alex"]) == 4
    found = srkd.compare(file, out, seeds=1, curves=True)
    # Two runs of ten points, since the last is known; the interrupted one twice.
    assert len(scored) == 2 * 10 + 1
    assert srkd.compare(file, out, seeds=1, curves=True) == found and len(scored) == 2 * 10 + 1
    control, method = found["rows"]
    for row in (control, method):
        (curve,) = row["curves"]
        assert [point["alpha"] for point in curve] == pytest.approx(np.arange(11) / 10)
        assert (curve[-1]["psnr"], curve[-1]["lpips"]) == (row["psnr"][0], row["lpips"][0])
    assert control["curves"][0][0] == pytest.approx(method["curves"][0][0])
    held_out = comparing.Measures("none").held_out(Recipe(str(photos), "gan2g", crop=32))
    expected = comparing.score_weights(start, held_out, "st-lpips-alex")
    assert control["curves"][0][0]["psnr"] == pytest.approx(expected["psnr"], abs=1e-3)
    half = srkd.interpolate(
        start, out / "gan2g-0" / "finetune.safetensors", alpha=0.5, out=tmp_path / "h.safetensors"
    )
    expected = comparing.score_weights(half, held_out, "st-lpips-alex")
    assert method["curves"][0][5]["lpips"] == pytest.approx(expected["lpips"], abs=1e-4)
    points = [[(p["psnr"], p["lpips"]) for p in row["curves"][0]] for row in (method, control)]
    bd = bd_difference(*points)
    assert (method["bd"]["lpips"]["mean"], method["bd"]["psnr"]["mean"]) == (bd.lpips, bd.psnr)
    assert (out / "curves.png").stat().st_size > 5000 and "BD-LPIPS" in (out / "compare.md").read_text()
