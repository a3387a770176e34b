"""`srkd quickstart`: the whole package in a few minutes, on photographs that are already installed."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.table import Table

from srkd.data import EMBEDDED_TEST, Pair, embedded_photos, read_pair
from srkd.errors import UsageError
from srkd.files import StrPath, write_text
from srkd.recipe import make_recipe
from srkd.runtimes.runner import Runner
from srkd.strategies import STRATEGIES
from srkd.terminal import Progress, heading, reports, say, show
from srkd.training import Run
from srkd.weights.catalogue import find_weights, list_shipped

SCALE = 4
# Where students start: these shipped weights, or a network of this size that is pretrained here.
START, STUDENT = "span_s_psnr", "span_s"
_VALIDATIONS = 6
# Features of the teacher's images bring more in minutes than HR's; without `blocking` and `grid` so short a
# training leaves a lattice.
_FEATURES = {"options": {"layers": ["relu1_2", "relu2_2", "relu3_3"], "shift": 16}}
_SMOOTH = {"grid": {"weight": 5.0}, "blocking": {"weight": 100.0}}
# Few steps of few crops: minutes on two cores.
_STAGES: dict[str, dict[str, Any]] = {
    "teacher": {"steps": 600, "crop": 64, "batch": 8},
    "teacher_gan": {"steps": 30, "crop": 48, "batch": 8},
    "pretrain": {"steps": 900, "crop": 64, "batch": 8},
    "transfer": {
        "steps": 160,
        "ema": 0.98,
        "losses": {
            "output": {"weight": 1.0},
            "perceptual_output": _FEATURES,
            "l1": {"weight": 0.2},
            "perceptual": {"weight": 0.2, **_FEATURES},
            **_SMOOTH,
        },
    },
    "finetune": {
        "steps": 60,
        "ema": 0.98,
        "losses": {"l1": {"weight": 0.5}, "perceptual": {"weight": 0.5, **_FEATURES}, **_SMOOTH},
        "critics": {"hr": {"weight": 2e-3, "rate": 2e-4}},
    },
}
# Trained here when no teacher is shipped, no larger than minutes allow.
_TEACHER: dict[str, Any] = {
    "model": "srgan",
    "model_options": {"channels": 48, "blocks": 8, "tail": "lr", "skip": "bilinear", "residual_init": 0.1},
}
_SIDE = 128


@reports
def quickstart(
    out: StrPath = "quickstart",
    *,
    strategy: Literal["gan2g", "g2g_al", "gan2g_al", "gan2gan"] = "gan2g",
    teacher: StrPath | None = None,
    seed: int = 0,
    verbose: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Try everything in minutes, on photographs that are installed.

    Takes a small shipped student that was trained for PSNR. One copy is distilled from a teacher and
    fine-tuned adversarially; another, the control, goes through the same stages without the teacher. Both are
    scored, with bicubic and the teacher, on photographs that training has not seen. Training this short shows
    that everything works; it says nothing about which method is better.

    Args:
        out: folder for weights, exports, pictures, `scores.json` and `report.html`; new or empty.
        strategy: which of the four transfers.
        teacher: weights of the teacher. Without it, the shipped one, or a small one trained here.
        seed: sets initial weights and the order of the data.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        The contents of `scores.json`.

    Raises:
        UsageError: the folder is not empty, or the teacher does not fit.
        SrkdError: a step failed.
    """
    from srkd.commands.export import export
    from srkd.commands.upscale import upscale

    began = time.monotonic()
    folder = Path(out)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder; choose another --out")
    common: dict[str, Any] = {"seed": seed, "scale": SCALE}
    kind = STRATEGIES[strategy].teacher or "psnr"
    heading("1. teacher")
    weights, source = _choose_teacher(teacher, kind, folder, common)
    start, distilled, control = _train_students(strategy, weights, folder, common)
    heading("5. export")
    onnx = export(distilled.weights["finetune"], format="onnx", out=folder / "student.onnx")
    export(distilled.weights["finetune"], format="safetensors", out=folder / "student.safetensors")
    heading("6. scores on held-out photographs")
    photos = embedded_photos(EMBEDDED_TEST)
    pairs = [read_pair(path, None, SCALE) for path in photos]
    models = {
        "bicubic": "bicubic",
        "student, pretrained": start,
        "control, transfer": control.weights["transfer"],
        "control, fine-tuned": control.weights["finetune"],
        f"{strategy}, transfer": distilled.weights["transfer"],
        f"{strategy}, fine-tuned": onnx,
        f"teacher ({kind})": weights,
    }
    results, crops = _score(models, pairs)
    picture = upscale(str(photos[1]), str(folder / "upscaled.png"), weights=str(onnx))[0]
    minutes = (time.monotonic() - began) / 60
    logs = {"distilled": distilled.folder, "control": control.folder}
    report = folder / "report.html"
    notes = [_conclude(results), *_notes(source, start == START, len(pairs), seed, minutes)]
    say(notes[0])
    _write_report(report, strategy, notes, results, logs, crops)
    facts = {"strategy": strategy, "seed": seed, "teacher": source, "stages": _STAGES}
    scores = {**facts, "minutes": round(minutes, 2), "scores": results}
    write_text(folder / "scores.json", json.dumps(scores, indent=2) + "\n")
    say(f"{minutes:.1f} minutes; the report is {report}, a photograph upscaled by the student {picture}")
    return scores


def _choose_teacher(
    teacher: StrPath | None, kind: str, folder: Path, common: Mapping[str, Any]
) -> tuple[str, str]:
    """The teacher's weights, and a description of where they come from."""
    if teacher is not None:
        return str(teacher), find_weights(teacher).name
    shipped = f"srgan_teacher_{kind}"
    if shipped in list_shipped():
        say(f"the shipped {shipped}")
        return shipped, f"the shipped {shipped}"
    say(f"no {kind.upper()}-trained teacher is shipped; training a small one first")
    run = _run(
        strategy="srgan" if kind == "gan" else "pretrain",
        out=str(folder / "teacher"),
        stages={"pretrain": _STAGES["teacher"], **({"gan": _STAGES["teacher_gan"]} if kind == "gan" else {})},
        validate_every=_STAGES["teacher"]["steps"] // _VALIDATIONS,
        **_TEACHER,
        **common,
    )
    return str(list(run.weights.values())[-1]), "a small one trained by this quickstart"


def _run(strategy: Any, model: str | None = None, **options: Any) -> Run:
    """A run on the embedded photographs. Interrupted, it advises what this command has: no --resume."""
    from srkd.training.run import run

    try:
        return run(make_recipe("embedded", strategy, model, options))  # type: ignore[arg-type]  # options by name, which it checks
    except KeyboardInterrupt:
        say("quickstart does not resume; run it again with another --out")
        raise


def _train_students(
    strategy: Any, teacher: str, folder: Path, common: Mapping[str, Any]
) -> tuple[StrPath, Run, Run]:
    """The pretrained student's weights, and from there the distilled one and the control."""
    heading("2. student, pretrained")
    start: StrPath = START
    if START in list_shipped():
        say(f"the shipped {START}")
    else:
        start = _run(
            strategy="pretrain",
            model=STUDENT,
            out=str(folder / "pretrain"),
            stages={"pretrain": _STAGES["pretrain"]},
            validate_every=_STAGES["pretrain"]["steps"] // _VALIDATIONS,
            **common,
        ).weights["pretrain"]
    arguments: dict[str, Any] = {
        "strategy": strategy,
        "start": str(start),
        "stages": {name: {"batch": 4, **_STAGES[name]} for name in ("transfer", "finetune")},
        "validate_every": _STAGES["transfer"]["steps"] // _VALIDATIONS,
        **common,
    }
    heading(f"3. student, distilled by {strategy}")
    distilled = _run(teacher=teacher, out=str(folder / "distilled"), **arguments)
    heading("4. control: the same stages without the teacher")
    control = _run(control=True, out=str(folder / "control"), **arguments)
    return start, distilled, control


def _score(
    models: Mapping[str, StrPath], pairs: Sequence[Pair]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, np.ndarray]]]:
    """The scores of each model, which are printed too, and crops of each photograph."""
    from srkd.commands.evaluating.scoring import score
    from srkd.upscaling.opening import open_runner

    runners = {name: open_runner(weights, "cpu", SCALE) for name, weights in models.items()}
    results = {name: score(runner, pairs, "y-crop") for name, runner in runners.items()}
    show(_table(_rows(results)))
    names = list(models)
    captions = {"bicubic": names[0], "control": names[3], "student": names[5], "teacher": names[6]}
    shown = {caption: runners[name] for caption, name in captions.items()}
    return results, {pair.name: _crop(pair, shown) for pair in pairs}


def _crop(pair: Pair, runners: Mapping[str, Runner]) -> dict[str, np.ndarray]:
    """The busiest square of a photograph: LR enlarged by nearest, as each network sees it, and HR."""
    from srkd.reports.page import busiest_window

    top, left = (edge - edge % SCALE for edge in busiest_window(pair.hr, _SIDE))
    box = slice(top, top + _SIDE), slice(left, left + _SIDE)
    small = pair.lr[top // SCALE : (top + _SIDE) // SCALE, left // SCALE : (left + _SIDE) // SCALE]
    pictures = {caption: runner(pair.lr)[box] for caption, runner in runners.items()}
    return {"LR": small.repeat(SCALE, 0).repeat(SCALE, 1), **pictures, "HR": pair.hr[box]}


def _rows(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"model": name, **result["mean"]} for name, result in results.items()]


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    from srkd.reports.templates import format_score

    table = Table()
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in rows:
        table.add_row(*(format_score(value, key) for key, value in row.items()))
    return table


def _notes(source: str, shipped: bool, count: int, seed: int, minutes: float) -> list[str]:
    names = [name for name in ("pretrain", "transfer", "finetune") if name != "pretrain" or not shipped]
    steps = ", ".join(f"{name} {_STAGES[name]['steps']}" for name in names)
    student = f"{STUDENT}, from the shipped {START}" if shipped else STUDENT
    return [
        f"Teacher: {source}. Student: {student}. Scores: mean over {count} photographs of scikit-image that "
        "training has not seen, LR by MATLAB's bicubic; PSNR and SSIM under y-crop4, LPIPS by the offline "
        "ST-LPIPS AlexNet (lower is better).",
        f"Steps: {steps}; seed {seed}; {minutes:.1f} minutes in all. A run this short shows that everything "
        "works; it says nothing about which method is better.",
    ]


def _conclude(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The student against bicubic, its pretrained start, its control and the teacher, in a sentence."""
    names = list(results)
    student = results[names[5]]["mean"]
    gaps = []
    for label, name in (("bicubic", 0), ("its pretrained start", 1), ("the control", 3), ("the teacher", 6)):
        other = results[names[name]]["mean"]
        psnr, lpips = (student[key] - other[key] for key in ("psnr", "st-lpips-alex"))
        gaps.append(f"{psnr:+.2f} dB and {lpips:+.4f} LPIPS from {label}")
    return (
        f"The fine-tuned student: {'; '.join(gaps)}. One seed: a difference from the control may be chance."
    )


def _write_report(
    path: Path,
    strategy: str,
    notes: Sequence[str],
    results: Mapping[str, Mapping[str, Any]],
    logs: Mapping[str, Path],
    crops: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    from srkd.reports.page import plot_curves, write_report

    write_report(path, f"srkd quickstart: {strategy}", notes, _rows(results), plot_curves(logs), crops)
