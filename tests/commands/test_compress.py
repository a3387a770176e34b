"""`srkd compress`, in miniature."""

import errno
import importlib
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import srkd
from srkd import SrkdError, UsageError
from srkd.cli import main
from srkd.commands.compressing import teacher as teacher_module
from srkd.commands.compressing import training
from srkd.commands.compressing.results import judge
from srkd.commands.compressing.teacher import Traits
from srkd.data import embedded_photos
from srkd.images.reading import read_image
from srkd.images.writing import write_image


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Ten photographs of 128x128."""
    folder = tmp_path_factory.mktemp("many")
    images = [read_image(path) for path in embedded_photos(["astronaut.png", "coffee.png"])]
    for number in range(10):
        place = 40 + 20 * number
        crop = images[number % 2][place : place + 128, place : place + 128]
        write_image(folder / f"{number}.png", np.ascontiguousarray(crop))
    return folder


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Teachers by kind."""
    folder = tmp_path_factory.mktemp("teachers")
    found = {}
    for kind in ("psnr", "gan"):
        network = srkd.create_generator("compact", 4, channels=8, convs=3)
        found[kind] = srkd.save_generator(network, folder / f"{kind}.safetensors", objective=kind)
    small = srkd.create_generator("compact", 2, channels=8, convs=3)
    found["x2"] = srkd.save_generator(small, folder / "x2.safetensors", objective="psnr")
    return found


def test_a_student_within_a_budget_with_proof(quick, many, teachers, tmp_path, capsys):
    out = tmp_path / "out"
    found = srkd.compress(
        teachers["psnr"], many, budget="60s@24x16,5500params", out=out, threads=1, hours=0.01
    )
    assert (
        found.student["candidate"]["architecture"] == "compact"
        and found.student["candidate"]["parameters"] <= 5500
    )
    assert [row["kept"] for row in found.budgets] == [True, True]
    assert found.files["onnx"] == out / "student.onnx" and found.files["safetensors"].is_file()
    assert srkd.load_generator(found.files["safetensors"]).info["teacher"].startswith("psnr@")
    assert [row["model"] for row in found.scores] == ["bicubic", "student", "teacher"]
    page = found.report.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=.(?!data:image/png;base64,)(?!#)", page.replace("xlink:", ""))
    for text in (
        "60s@24x16",
        "5500params",
        "taken",
        "held-out",
        "validation PSNR",
        "srkd compress",
    ):
        assert text in page, text
    # Three steps make no student that is better than bicubic, and the page says so.
    assert found.worth is False and "not worth having" in page
    assert (out / "student.md").is_file() and json.loads((out / "compression.json").read_text())["plan"][
        "recipe"
    ] == "psnr"
    capsys.readouterr()
    again = srkd.compress(
        teachers["psnr"], many, budget="60s@24x16,5500params", out=out, threads=1, hours=0.01
    )
    said = capsys.readouterr().out
    assert said.count("done before") == len(again.hours) and again.scores == found.scores
    lost = [
        *(found.files["onnx"], found.report, out / "work" / "photographs" / "packed" / "hr.u8"),
        *(out / "work").glob("student-base/run/pretrain.safetensors"),
        *(out / "work").glob("photographs/held/LR/000.png"),
    ]
    contents = [path.read_bytes() for path in lost[2:]]
    for path in lost:
        path.unlink()
    again = srkd.compress(
        teachers["psnr"], many, budget="60s@24x16,5500params", out=out, threads=1, hours=0.01
    )
    said = capsys.readouterr().out
    assert said.count("is missing: this step is done again") == 3 and again.scores == found.scores
    assert all(f"{name} is missing" in said for name in ("000.png", "pretrain.safetensors", "student.onnx"))
    assert all(path.is_file() for path in lost) and [path.read_bytes() for path in lost[2:]] == contents
    srkd.compress(teachers["psnr"], many, budget="60s@24x16,5000params", out=out, threads=1, hours=0.01)
    said = capsys.readouterr().out
    assert "budget has changed: this step starts over" in said
    assert (
        "1. the teacher: done before" in said
        and "photographs, and the teacher's outputs on them: done before" in said
    )


@pytest.mark.parametrize("restoring", [True, False])
def test_a_gan_teacher_with_control_and_race(quick, many, teachers, tmp_path, monkeypatch, restoring):
    monkeypatch.setattr(teacher_module, "RESTORING", 100.0 if restoring else 0.0)
    found = srkd.compress(
        teachers["gan"],
        many,
        budget=["9000params"],
        out=tmp_path / "out",
        hours=0.01,
        control=True,
        race=True,
        verbose=False,
    )
    assert found.traits["kind"] == "gan" and found.traits["restoring"] is restoring
    assert [row["model"] for row in found.scores] == ["bicubic", "control", "student", "teacher"]
    plan = json.loads((found.folder / "compression.json").read_text())["plan"]
    assert plan["recipe"] == ("restoring" if restoring else "gan")
    assert "control" in found.report.read_text() and any("control" in line for line in found.verdict)
    runs = {path.parent.parent.name for path in found.folder.glob("work/*/run/run.json")}
    shared = set() if restoring else {"control-base"}
    assert {"student-base", "student-sharp", "control-base", "control-sharp"} - shared <= runs
    assert not shared & runs and any(name.startswith("race-0-compact") for name in runs)


def test_a_dry_run_trains_nothing(quick, many, teachers, tmp_path, capsys):
    found = srkd.compress(teachers["psnr"], many, budget="1GMACs", out=tmp_path / "out", dry_run=True)
    said = capsys.readouterr().out
    assert found.files == {} and found.worth is None and "a dry run" in said and "is taken" in said
    assert {"teacher", "search"} == set(json.loads((tmp_path / "out" / "work" / "steps.json").read_text()))
    assert not (tmp_path / "out" / "work" / "photographs").exists()


def test_a_budget_that_nothing_meets(quick, many, teachers, tmp_path, capsys):
    words = [
        "compress",
        str(teachers["psnr"]),
        str(many),
        "--budget",
        "1000params",
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "no network meets 1000params: the nearest is compact 8x2 with 4,920, 392% over" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give a budget, as 30ms@320x180"),
        (["--budget", "30ms"], "needs the size of the LR image"),
        (["--budget", "30 ms"], "needs the size of the LR image"),
        (["--budget", "0ms@320x180"], "is not more than 0"),
        (["--budget", "-1MB"], "--budget needs a value"),
        (["--budget=-1MB"], "budget '-1MB' is not one of"),
        (["--budget", "2MB", "--hours", "0"], "--hours must be a positive number"),
        (["--budget", "2MB", "--format", "gif"], "unknown format 'gif'"),
        (
            ["--budget", "2MB", "--runtime", "ncnn", "--precision", "int8"],
            "ncnn takes fp32 or fp16, not int8",
        ),
        (["--budget", "2MB", "--profile", "nowhere.json"], "there is no profile nowhere.json"),
        (["--budget", "2MB", "--architecture", "vgg"], "unknown architecture 'vgg'"),
        (["--budget", "2MB", "--scale", "2"], "is x4, and --scale asks for x2"),
        (["--budget", "2MB", "--degradation", "rain"], "'rain' is not one of"),
        (["--budget", "2MB", "--threads", "0"], "--threads must be a whole number"),
    ],
)
def test_misuse_is_one_line(quick, many, teachers, tmp_path, capsys, words, said):
    code = main(["compress", str(teachers["psnr"]), str(many), "-o", str(tmp_path / "out"), *words])
    error = capsys.readouterr().err
    assert code == 2 and said in error and len(error.strip().splitlines()) == 1


def test_an_out_that_is_something_else_is_misuse(many, teachers, tmp_path, capsys):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").touch()
    (tmp_path / "file").touch()
    words = ["compress", str(teachers["psnr"]), str(many), "--budget", "2MB", "-o"]
    for name, said in (("foreign", "is not empty"), ("file", "is a file")):
        assert main([*words, str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert said in error and len(error.strip().splitlines()) == 1


def test_too_few_photographs_and_scales(many, teachers, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(many.iterdir())[:3]:
        (few / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match=r"3 photographs in .* are too few: training takes at least 8"):
        srkd.compress(teachers["psnr"], few, budget="2MB", out=tmp_path / "out")
    with pytest.raises(UsageError, match=r"x2\.safetensors is x2, and --scale asks for x4"):
        srkd.compress(teachers["x2"], many, budget="2MB", out=tmp_path / "out", scale=4)


# Where each step has done half of its work.
PARTS = [
    "srkd.commands.compressing.pipeline.inspect_teacher",
    "srkd.commands.compressing.pipeline.Searcher",
    "srkd.commands.compressing.photographs.write_crops",
    "srkd.commands.prepare.prepare",
    "srkd.commands.compressing.training.make_start",
    "srkd.commands.compressing.training.train_phase",
    "srkd.commands.compressing.exporting.write_files",
    "srkd.commands.compressing.results.score_all",
    "srkd.commands.compressing.summary.write_summary",
]


def patch_part(patch, place, error):
    def stop(*_args, **_options):
        raise error

    module, _, name = place.rpartition(".")
    patch.setattr(importlib.import_module(module), name, stop)


def test_ctrl_c_in_each_step_loses_nothing(quick, many, teachers, tmp_path, monkeypatch, capsys):
    """Interrupted once in every step, after its work is half done, and run again."""
    words = ["compress", str(teachers["psnr"]), str(many), "--budget", "9000params", "--hours", "0.01"]
    words += ["-o", str(tmp_path / "out")]
    for number, place in enumerate(PARTS):
        with monkeypatch.context() as patch:
            patch_part(patch, place, KeyboardInterrupt())
            assert main(words) == 130
            said = capsys.readouterr()
            assert "the same command continues" in said.out and "interrupted" in said.err
            assert number in (0, 1) or "continuing where it was interrupted" in said.out or number == 4
    assert main(words) == 0
    assert capsys.readouterr().out.count("done before") == 8


# A file of each kind that is written, by a part of its name.
@pytest.mark.parametrize("name", ["steps.json", "_0.png", "checkpoints", "student.onnx", "report.html"])
def test_a_full_disk_is_one_line(quick, many, teachers, tmp_path, monkeypatch, capsys, name):
    """And the same command goes on when there is space."""
    words = ["compress", str(teachers["psnr"]), str(many), "--budget", "9000params", "--hours", "0.01"]
    words += ["-o", str(tmp_path / "out")]
    replace = os.replace

    def fill(source, target):
        if name in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fill)
        assert main(words) == 1
        error = capsys.readouterr().err.strip().splitlines()
        assert os.strerror(errno.ENOSPC) in error[-1] and error[-1].startswith("srkd compress: ")
        assert not any("Traceback" in line for line in error)
    assert main(words) == 0 and (tmp_path / "out" / "report.html").is_file()


def scores(psnr, lpips):
    return {"psnr": psnr, "ssim": 0.8, "st-lpips-alex": lpips}


def make_result(gaps, over=False):
    verdicts = {
        "psnr": {"mean": 0.1, "half_width": 0.01},
        "st-lpips-alex": {"mean": -0.01, "half_width": 0.001},
    }
    return {
        "scores": [
            {"model": "bicubic", **scores(25.0, 0.4)},
            {"model": "student", **scores(26.0, 0.3)},
            {"model": "teacher", **scores(27.0, 0.2)},
        ],
        "differences": {
            name: {key: {**verdicts[key], "verdict": verdict} for key in verdicts}
            for name, verdict in gaps.items()
        },
        "speed": {"student": 1e-6, "teacher": 4e-5},
        "budgets": [{"budget": "2MB", "said": "2.4 MB", "over": over}],
    }


@pytest.mark.parametrize("kind", ["psnr", "gan"])
@pytest.mark.parametrize(
    ("gaps", "over", "worth", "said"),
    [
        ({"bicubic": "better"}, False, True, "50% of the teacher's way from bicubic"),
        ({"bicubic": "not told apart"}, False, False, "not measurably better than bicubic"),
        (
            {"bicubic": "better", "shipped span_s_psnr": "worse"},
            False,
            False,
            "span_s_psnr keeps the budget too",
        ),
        ({"bicubic": "better", "control": "better"}, False, True, "the teacher helped"),
        ({"bicubic": "better", "control": "not told apart"}, False, True, "the difference may be chance"),
        ({"bicubic": "better"}, True, False, "Not within the budget: 2.4 MB for 2MB"),
    ],
)
def test_the_verdict(kind, gaps, over, worth, said):
    traits = Traits(kind, "", False, "", 1e-4, {})
    found, lines = judge(make_result(gaps, over), traits)
    assert found is worth and any(said in line for line in lines)


@pytest.mark.slow
def test_a_killed_command_continues(many, teachers, tmp_path):
    words = [
        sys.executable,
        "-m",
        "srkd",
        "compress",
        str(teachers["psnr"]),
        str(many),
        "--budget",
        "9000params",
    ]
    words += ["--architecture", "compact", "-o", str(tmp_path / "out"), "--hours", "0.03"]
    for marker in ("crops", "student-base/run/checkpoints/"):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while process.poll() is None and not list((tmp_path / "out").glob(f"work/**/{marker}*")):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "done before" in done.stdout and (tmp_path / "out" / "report.html").is_file()


def test_errors_of_a_step_keep_the_earlier_ones(quick, many, teachers, tmp_path, monkeypatch):
    def fail(*_args, **_options):
        raise SrkdError("the loss is not finite")

    with monkeypatch.context() as patch, pytest.raises(SrkdError, match="not finite"):
        patch.setattr(training, "train_phase", fail)
        srkd.compress(teachers["psnr"], many, budget="9000params", out=tmp_path / "out", hours=0.01)
    state = json.loads((tmp_path / "out" / "work" / "steps.json").read_text())
    assert "result" in state["photographs"] and "result" not in state["student-base"]
