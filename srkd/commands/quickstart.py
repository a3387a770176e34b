"""The whole package in a few minutes, on photographs that are already installed."""

import json
import time
from pathlib import Path
from typing import Any, Literal

from srkd.errors import UsageError
from srkd.files import write_text
from srkd.terminal import console
from srkd.weights.catalogue import find_weights, list_shipped

SCALE = 4


STUDENT = "srgan_student_lite"


# Small crops and few steps: minutes on two cores. The pretraining is the longest, since an adversary needs
# a student that already upscales.
_BATCH, _SEEN = 8, 6


_STAGES: dict[str, dict[str, Any]] = {
    "teacher": {"steps": 600, "crop": 64},
    "teacher_gan": {"steps": 30, "crop": 48},
    "pretrain": {"steps": 900, "crop": 64},
    "transfer": {"steps": 48, "crop": 48},
    "finetune": {"steps": 48, "crop": 48},
}


# Without shipped weights the teacher is trained here, no larger than minutes allow.
_TEACHER: dict[str, Any] = {
    "model": "srgan",
    "model_options": {"channels": 48, "blocks": 8, "tail": "lr", "skip": "bilinear", "residual_init": 0.1},
}


def quickstart(
    out: str = "quickstart",
    *,
    strategy: Literal["gan2g", "g2g_al", "gan2g_al", "gan2gan"] = "g2g_al",
    teacher: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Distil, fine-tune, compare, export and use a student, on embedded photographs, in minutes.

    A small student is pretrained; from there one copy is distilled from a teacher and fine-tuned
    adversarially, and another, the control, is trained through the same stages without the teacher. Both are
    scored on photographs that training has not seen, beside bicubic and the teacher. Whatever the scores
    are, they are shown: a few minutes are too short to judge a method by.

    Args:
        out: folder for weights, exports, pictures, `scores.json` and `report.html`; new or empty.
        strategy: which of the four transfers.
        teacher: weights of the teacher; the shipped one, or a small one trained here, when not given.
        seed: decides initial weights and the order of the data.

    Returns:
        The scores, as `scores.json` holds them.

    Raises:
        UsageError: the folder is not empty, or the teacher does not fit.
        SrkdError: a step failed.
    """
    from srkd.commands.distill import distill
    from srkd.commands.evaluate import score
    from srkd.commands.export import export
    from srkd.commands.train import train
    from srkd.commands.upscale import upscale
    from srkd.data import EMBEDDED_TEST, embedded_photos, read_pair
    from srkd.reports.page import busiest_window, plot_curves, write_report
    from srkd.strategies import STRATEGIES
    from srkd.upscaling.opening import open_runner

    began = time.monotonic()
    folder = Path(out)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder; give another --out")
    common: dict[str, Any] = {"batch": _BATCH, "seed": seed, "scale": SCALE}
    kind = STRATEGIES[strategy].teacher
    assert kind is not None

    console.rule("1. teacher")
    teacher, source = _teacher(teacher, kind, folder, common)

    console.rule("2. student, pretrained")
    start = train(
        "embedded",
        strategy="pretrain",
        model=STUDENT,
        out=str(folder / "pretrain"),
        stages={"pretrain": _STAGES["pretrain"]},
        validate_every=_STAGES["pretrain"]["steps"] // _SEEN,
        **common,
    )
    assert start is not None
    arguments: dict[str, Any] = {
        "strategy": strategy,
        "model": STUDENT,
        "start": str(start.weights["pretrain"]),
        "stages": {name: _STAGES[name] for name in ("transfer", "finetune")},
        "validate_every": _STAGES["transfer"]["steps"] // _SEEN,
        **common,
    }
    console.rule(f"3. student, distilled by {strategy}")
    distilled = distill("embedded", teacher=teacher, out=str(folder / "distilled"), **arguments)
    console.rule("4. control: the same stages without the teacher")
    control = distill("embedded", control=True, out=str(folder / "control"), **arguments)
    assert distilled is not None and control is not None

    console.rule("5. export")
    onnx = export(str(distilled.weights["finetune"]), format="onnx", out=str(folder / "student.onnx"))
    export(str(distilled.weights["finetune"]), format="safetensors", out=str(folder / "student.safetensors"))

    console.rule("6. scores on held-out photographs")
    photos = embedded_photos(EMBEDDED_TEST)
    pairs = [read_pair(path, None, SCALE) for path in photos]
    models = {
        "bicubic": "bicubic",
        "student, pretrained": start.weights["pretrain"],
        "control, transfer": control.weights["transfer"],
        "control, fine-tuned": control.weights["finetune"],
        f"{strategy}, transfer": distilled.weights["transfer"],
        f"{strategy}, fine-tuned": onnx,
        f"teacher ({kind})": teacher,
    }
    upscalers = {name: open_runner(weights, "cpu", SCALE) for name, weights in models.items()}
    results = {name: score(upscaler, pairs, "y-crop") for name, upscaler in upscalers.items()}
    rows = [{"model": name, **result["mean"]} for name, result in results.items()]
    console.print(_table(rows))

    shown = {
        "bicubic": "bicubic",
        "control": "control, fine-tuned",
        "student": f"{strategy}, fine-tuned",
        "teacher": f"teacher ({kind})",
    }
    crops = {}
    for pair in pairs:
        top, left = (edge - edge % SCALE for edge in busiest_window(pair.hr, 128))
        box = slice(top, top + 128), slice(left, left + 128)
        small = pair.lr[top // SCALE : (top + 128) // SCALE, left // SCALE : (left + 128) // SCALE]
        pictures = {caption: upscalers[name](pair.lr)[box] for caption, name in shown.items()}
        crops[pair.name] = {"LR": small.repeat(SCALE, 0).repeat(SCALE, 1), **pictures, "HR": pair.hr[box]}
    picture = upscale(str(photos[1]), str(folder / "upscaled.png"), weights=str(onnx))[0]

    minutes = (time.monotonic() - began) / 60
    steps = ", ".join(f"{name} {stage['steps']}" for name, stage in _STAGES.items() if "teacher" not in name)
    notes = [
        f"Teacher: {source}. Student: {STUDENT}. Scores: mean over {len(pairs)} photographs of "
        "scikit-image that training has not seen, LR by MATLAB's bicubic; PSNR and SSIM under y-crop4, LPIPS "
        "with the offline ST-LPIPS AlexNet (lower is nearer).",
        f"Steps: {steps}; "
        f"seed {seed}; {minutes:.1f} minutes in all. So short a run shows that everything works; it does not "
        "rank methods.",
    ]
    report = folder / "report.html"
    write_report(
        report,
        f"srkd quickstart: {strategy}",
        notes,
        rows,
        plot_curves({"distilled": distilled.folder, "control": control.folder}),
        crops,
    )
    scores = {
        "strategy": strategy,
        "seed": seed,
        "teacher": source,
        "stages": _STAGES,
        "minutes": round(minutes, 2),
        "scores": results,
    }
    write_text(folder / "scores.json", json.dumps(scores, indent=2) + "\n")
    console.print(
        f"{minutes:.1f} minutes; the report is {report}, a photograph upscaled by the student {picture}"
    )
    return scores


def _teacher(teacher: str | None, kind: str, folder: Path, common: dict[str, Any]) -> tuple[str, str]:
    """The teacher's weights, and where they come from."""
    from srkd.commands.train import train

    if teacher is not None:
        return teacher, find_weights(teacher).name
    shipped = f"srgan_teacher_{kind}"
    if shipped in list_shipped():
        console.print(f"the shipped {shipped}")
        return shipped, f"the shipped {shipped}"
    console.print(f"no {kind.upper()}-trained teacher is shipped; training a small one first")
    run = train(
        "embedded",
        strategy="srgan" if kind == "gan" else "pretrain",
        out=str(folder / "teacher"),
        stages={"pretrain": _STAGES["teacher"], **({"gan": _STAGES["teacher_gan"]} if kind == "gan" else {})},
        validate_every=_STAGES["teacher"]["steps"] // _SEEN,
        **_TEACHER,
        **common,
    )
    assert run is not None
    return str(list(run.weights.values())[-1]), "a small one trained by this quickstart"


def _table(rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table()
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in rows:
        table.add_row(
            *(v if isinstance(v, str) else f"{v:.2f}" if k == "psnr" else f"{v:.4f}" for k, v in row.items())
        )
    return table
