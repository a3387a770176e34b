"""The table of the strategies: its plan, its figures, and what it says of them."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, load_script
from PIL import Image
from safetensors import safe_open

import srkd
from srkd.images.folders import list_images
from srkd.images.reading import read_image
from srkd.images.resample import downscale
from srkd.images.writing import write_image
from srkd.metrics.intervals import paired_interval
from srkd.weights.catalogue import read_header

FOLDER = ROOT / "benchmarks" / "strategies"

SEEDS = 2

METHODS = {"control": None, "g2g_al": "control", "control_mutual": None, "mutual": "control_mutual"}

table = load_script("benchmarks/strategies/table.py")
claims, costs, crops, markdown, rows, score = (
    import_module(f"benchmarks.strategies.{name}")
    for name in ("claims", "costs", "crops", "markdown", "rows", "score")
)


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """A folder as `srkd compare` leaves it, of random weights."""
    folder = tmp_path_factory.mktemp("runs")
    for number, name in enumerate(METHODS):
        for seed in range(SEEDS):
            torch.manual_seed(10 * number + seed)
            for stage in ("finetune",) if "mutual" in name else ("transfer", "finetune"):
                path = folder / f"{name}-{seed}" / f"{stage}.safetensors"
                srkd.save_generator(srkd.create_generator("srgan_tiny"), path, stage=stage)
    rows = [{"method": name, "control": control} for name, control in METHODS.items()]
    (folder / "compare.json").write_text(json.dumps({"seeds": SEEDS, "rows": rows}))
    return folder


@pytest.fixture(scope="session")
def sets(tmp_path_factory, photos) -> Path:
    """Two benchmarks of one and two images."""
    folder = tmp_path_factory.mktemp("sets")
    for name, paths in {"One": list_images(photos)[:1], "Two": list_images(photos)[2:5:2]}.items():
        for path in paths:
            hr = np.ascontiguousarray(read_image(path)[:48, :52])
            write_image(folder / name / "HR" / f"{path.stem}.png", hr)
            write_image(folder / name / "LR" / f"{path.stem}.png", downscale(hr, 4))
    return folder


@pytest.fixture(scope="session")
def kept(tmp_path_factory) -> Path:
    """Scores that tests share."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def run(runs, sets, kept, tmp_path, monkeypatch):
    """Makes the table, without latency; gives table.json."""
    monkeypatch.setattr(rows, "SHIPPED", ("no_such_weights",))

    def call(*words, runs=runs):
        out = tmp_path / "out" / "table.json"
        common = ["--data", sets, "--runs", runs, "--json", out, "--cache", kept]
        table.main([str(word) for word in (*common, "--sets", "One,Two", "--turns", 0, *words)])
        return json.loads(out.read_text())

    return call


def test_plan_has_the_controls_of_the_methods_and_equal_steps(compare_untrained):
    controls, recipes = compare_untrained(FOLDER / "compare.yaml")
    shared, adversarial = "control", "control_gan2g_al"
    assert {name: control for name, control in controls.items() if control} == {
        **dict.fromkeys(("gan2g", "g2g_al"), shared),
        **dict.fromkeys(("gan2g_al", "gan2gan"), adversarial),
        "mutual": "control_mutual",
    }
    stages = {name: recipe.resolve() for name, recipe in recipes.items()}
    assert set(stages[shared]["transfer"].losses) == {"perceptual"} and not stages[shared]["transfer"].critics
    assert set(stages[adversarial]["transfer"].losses) == {"perceptual"}
    assert {c.init for c in stages[adversarial]["transfer"].critics.values()} == {"fresh"}
    plain, mutual = stages["control_mutual"]["finetune"], stages["mutual"]["finetune"]
    assert plain.mutual is None and mutual.mutual is not None and plain.critics == mutual.critics
    assert [critic.copies for critic in mutual.critics.values()] == [2]
    assert {sum(stage.steps for stage in each.values()) for each in stages.values()} == {400}
    for stage in (stage for each in stages.values() for stage in each.values()):
        options = {"trunk": "st-vgg", "layers": ["relu1_2", "relu2_2", "relu3_3"], "shift": 1}
        assert stage.losses["perceptual"].options == options and (stage.batch, stage.crop) == (4, 96)


def test_rows_are_what_evaluate_finds(run, runs, sets):
    result = run()
    titles = [markdown.title(row) for row in result["rows"]]
    both = [f"{name}, {stage}" for name in ("control", "g2g_al") for stage in ("transfer", "finetune")]
    assert titles == ["bicubic", *both, "control_mutual, finetune", "mutual, finetune"]
    assert result["left_out"].keys() == {"DAT-light", "no_such_weights"} and result["sets"]["Two"] == 2
    row = result["rows"][titles.index("g2g_al, finetune")]
    network = srkd.create_generator("srgan_tiny")
    assert row["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    for variant in score.LPIPS:
        found = [
            srkd.evaluate(
                str(runs / f"g2g_al-{seed}" / "finetune.safetensors"), str(sets / "Two"), lpips=variant
            )["mean"]
            for seed in range(SEEDS)
        ]
        for measure in ("psnr", "ssim", variant):
            values = [mean[measure] for mean in found]
            scores = row["scores"]["Two"][measure]
            assert scores["seeds"] == pytest.approx(values, rel=1e-6)
            assert scores["mean"] == pytest.approx(np.mean(values), rel=1e-6)
            assert scores["std"] == pytest.approx(np.std(values, ddof=1), rel=1e-3)
    other = result["rows"][titles.index("control, finetune")]["scores"]["One"]["psnr"]["seeds"]
    gap = paired_interval(row["scores"]["One"]["psnr"]["seeds"], other)
    assert row["difference"]["One"]["psnr"] == pytest.approx(gap)
    assert "difference" not in result["rows"][titles.index("control, finetune")]


def test_an_interrupted_run_goes_on(run, tmp_path, monkeypatch):
    scored, calls, own = score.Scorer.score, [], ("--cache", tmp_path / "cache", "--sets", "One")

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return scored(self, *arguments)

    monkeypatch.setattr(score.Scorer, "score", interrupted)
    with pytest.raises(SystemExit) as ended:
        run(*own)
    assert ended.value.code == 130
    result = run(*own)
    # Bicubic and six rows of two seeds; the interrupted one twice.
    assert len(calls) == 1 + 6 * SEEDS + 1
    assert run(*own) == result and len(calls) == 1 + 6 * SEEDS + 1


def test_packed_weights_are_half_as_large_and_score_the_same(run, runs, tmp_path):
    packed = tmp_path / "packed"
    table.main(["--pack", str(runs), "--runs", str(packed)])
    path = Path("mutual-1") / "finetune.safetensors"
    with safe_open(packed / path, framework="np") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {np.dtype("float16")}  # noqa: SIM118  # not a mapping
    assert read_header(packed / path) == read_header(runs / path)
    assert (packed / "compare.json").read_text() == (runs / "compare.json").read_text()
    full, half = (run("--sets", "One", runs=folder)["rows"][-1]["scores"]["One"] for folder in (runs, packed))
    assert half["psnr"]["mean"] == pytest.approx(full["psnr"]["mean"], abs=0.01)


def test_crops_are_drawn_of_the_images_that_are_there(run, sets, tmp_path, monkeypatch, capsys):
    name = list_images(sets / "One" / "HR")[0].name
    windows = (
        crops.Crop("One", name, 0, 0),
        crops.Crop("One", "none.png", 0, 0),
        crops.Crop("Three", "", 0, 0),
    )
    monkeypatch.setattr(crops, "CROPS", windows)
    monkeypatch.setattr(crops, "SIDE", 40)
    run("--sets", "One")
    assert "One/none.png is not in" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "crops.png") as picture:
        assert picture.height < 2 * 2 * 40 and picture.width >= 3 * 2 * 40


def row_of(name, control, *seeds, sets=("Set5", "Set14")):
    """A fine-tuned row with these PSNRs, and LPIPS that rank the other way about."""
    scores = {"psnr": {"seeds": list(seeds)}, "st-lpips-alex": {"seeds": [value / 100 for value in seeds]}}
    return {"row": name, "stage": "finetune", "control": control, "scores": dict.fromkeys(sets, scores)}


def claims_of(*rows):
    claims.add_differences(rows)
    return [f"{claim['verdict']} | {' | '.join(claim['cases'])}" for claim in claims.check_claims(rows)]


def test_claims_follow_the_figures():
    control = row_of("control", None, 30.0, 30.1, 30.2)
    ahead = row_of("g2g_al", "control", 31.0, 31.11, 31.2)
    beside = row_of("gan2g", "control", 29.5, 30.9, 30.0)
    behind = row_of("gan2gan", "control", 29.0, 29.11, 29.2)
    taught, best, mutual = claims_of(control, ahead, behind, beside)
    assert taught.startswith(
        "held in some cases and the reverse in others (4 of 12 cases for it, 4 against, 4"
    )
    assert (
        "PSNR: better: g2g_al (Set5, Set14); worse: gan2gan (Set5, Set14); not told apart: gan2g (Set5"
        in taught
    )
    assert "st-lpips-alex: better: gan2gan (Set5, Set14); worse: g2g_al (Set5, Set14)" in taught
    # Far ahead in PSNR of one, and not told apart from the other; in LPIPS beaten.
    assert best.startswith("did not hold (0 of 4 cases for it, 2 against, 2")
    assert "PSNR: g2g_al is not told apart from gan2g on Set5" in best
    assert "st-lpips-alex: g2g_al is beaten by gan2gan on Set5" in best
    assert mutual.startswith("not tested")


def test_claims_of_a_clear_winner_and_of_a_single_seed():
    control, ahead = row_of("control", None, 30.0, 30.1, 30.2), row_of("g2g_al", "control", 31.0, 31.11, 31.2)
    for scores in ahead["scores"].values():
        scores["st-lpips-alex"] = {"seeds": [0.1, 0.11, 0.12]}
    taught, best, _ = claims_of(control, ahead, row_of("gan2gan", "control", 30.1, 30.2, 30.31))
    assert "after fine-tuning, PSNR: better: g2g_al (Set5, Set14), gan2gan (Set5, Set14)" in taught
    assert best.startswith("held (4 of 4 cases") and "g2g_al is best on Set14" in best
    taught, best, _ = claims_of(row_of("control", None, 30.0), row_of("g2g_al", "control", 35.0))
    assert taught.startswith("not told apart (0 of 4") and best.startswith("not tested")


def test_misuse_is_one_line(runs, sets, tmp_path, capsys):
    bare = tmp_path / "bare"
    bare.mkdir()
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "compare.json").write_text((runs / "compare.json").read_text())
    given = {
        "--data": sets,
        "--sets": "One",
        "--runs": runs,
        "--cache": tmp_path,
        "--json": tmp_path / "t.json",
    }
    for change, expected in (
        ({"--data": tmp_path / "none"}, "there is no folder"),
        ({"--data": bare}, "no subfolder with HR inside"),
        ({"--sets": "One,Set6"}, "unknown set 'Set6'; choose from: One, Two"),
        ({"--runs": tmp_path / "none"}, "there is no folder"),
        ({"--runs": bare}, "holds no compare.json"),
        ({"--runs": cut}, "holds no weights of control"),
        ({"--dat": tmp_path / "none.pth"}, "there is no weights file"),
        ({"--json": tmp_path}, "does not end in .json"),
        ({"--threads": 0}, "at least 1"),
    ):
        words = [str(word) for item in {**given, **change}.items() for word in item]
        with pytest.raises(SystemExit) as ended:
            table.main(words)
        error = capsys.readouterr().err.strip()
        assert ended.value.code == 2 and expected in error and len(error.splitlines()) == 1, error


@pytest.mark.slow
def test_latency_is_a_ratio_to_the_teacher(runs):
    given = [rows.Row("bicubic", ("bicubic",)), *rows.read_runs(runs)]
    found, latency = costs.find_costs(given, threads=1, turns=2)
    assert latency["base"] == costs.RANDOM_TEACHER and latency["base_seconds"] > 0
    # All students are one architecture.
    assert found[1] == found[-1] and found[1]["macs"] > 0
    assert 0 < found[0]["latency"]["median"] < found[1]["latency"]["median"] < 1
