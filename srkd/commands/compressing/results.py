"""What a student came to: costs measured again, scores against bicubic, teacher and control."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from srkd.commands.comparing.runs import between, score_network
from srkd.commands.compressing.exporting import export_student
from srkd.commands.compressing.pipeline import Pipeline
from srkd.commands.compressing.teacher import LPIPS, Traits
from srkd.data import Pair
from srkd.metrics.bjontegaard import bd_difference
from srkd.metrics.intervals import BETTER, EQUAL, WORSE, paired_interval, tell_apart
from srkd.runtimes.runner import Runner
from srkd.search.budgets import compare
from srkd.search.choosing import Row
from srkd.search.measuring import TURNS, take_turns
from srkd.terminal import note, say, track

# The shares of the end along a curve from the PSNR-trained start.
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Measured again, a student may take this much more than its budget: two sessions of one network differ so.
TOLERANCE = 0.1
# How often each network is timed beside the others.
_TURNS = 3
# Photographs whose crops the report shows, and the side of these in pixels.
SHOWN, SHOWN_SIDE = 4, 128

Scores = dict[str, list[dict[str, float]]]


def finish(
    pipeline: Pipeline,
    row: Row,
    traits: Traits,
    student: Sequence[Mapping[str, Any]],
    other: Sequence[Mapping[str, Any]],
    formats: Sequence[str],
) -> dict[str, Any]:
    """Writes the student, measures it again and scores it, or takes that from an earlier call."""
    request, weights = pipeline.request, Path(student[-1]["weights"])
    files = export_student(pipeline, weights, formats)

    def work(place: Path) -> dict[str, Any]:
        found = measure_student(pipeline, row, files, weights, place / "drafts")
        pairs = read_held(pipeline.steps.place("photographs") / "held")
        rival = find_rival(pipeline, list(pipeline.steps.done["search"]["result"]["shipped"]), traits)
        models = {"bicubic": "bicubic"}
        models |= {f"shipped {rival}": rival} if rival else {}
        models |= {"control": other[-1]["weights"]} if other else {}
        models |= {"student": files["safetensors"], "teacher": str(pipeline.path)}
        scores, speed, crops = score_all(models, pairs, pipeline.scale)
        save_crops(crops, place / "crops")
        found |= {"scores": mean_scores(scores), "speed": speed, "held": len(pairs)}
        found["differences"] = differences(scores, "student", [name for name in scores if name != "student"])
        if other and len(student) and traits.kind == "gan":
            found["bd"] = bd_of_control(student, other, pairs)
        worth, verdict = judge(found, traits)
        return {**found, "worth": worth, "verdict": verdict}

    inputs = {
        "student": [{k: v for k, v in phase.items() if k != "psnr"} for phase in student],
        "control": [{k: v for k, v in phase.items() if k != "psnr"} for phase in other],
        "trained": {
            name: entry["inputs"]
            for name, entry in pipeline.steps.done.items()
            if name.startswith(("student-", "control-"))
        },
        "runtime": request.place.describe(),
        "budget": [one.text for one in request.budgets],
        "profile": asdict(request.profile) if request.profile else None,
    }
    crops = pipeline.steps.place("result") / "crops"
    return {
        **pipeline.steps.do("result", "measuring and scores", inputs, work, lambda _: [crops]),
        "files": files,
    }


def measure_student(
    pipeline: Pipeline, row: Row, files: Mapping[str, str], weights: Path, drafts: Path
) -> dict[str, Any]:
    """The student's costs from its own file, and how they keep the budgets. Where a file runs on one size
    alone, `drafts` is a folder for files of other sizes."""
    from srkd.exports.writing import count_bytes, write_draft
    from srkd.search.timing import time_runs, warn_if_busy
    from srkd.weights.store import load_generator

    request, place = pipeline.request, pipeline.request.place
    path, model = Path(files[place.format]), load_generator(weights)
    sizes = [budget.size for budget in request.budgets if budget.kind == "time"]
    costs, spread = dict(row.costs), {}
    if any(budget.kind == "time" for budget in request.budgets) and request.profile is None:
        warn_if_busy(place)
    for budget in request.budgets:
        if budget.kind == "bytes":
            costs[budget.key] = count_bytes(path, place.format)
        elif budget.kind == "time" and budget.size and request.profile is None:
            file = path
            if place.sized and budget.size != sizes[0]:
                file = drafts / f"{budget.size[0]}x{budget.size[1]}{path.suffix}"
                write_draft(model, file, place.format, place.precision, budget.size)
            run = place.open(file, model)
            spread[budget.key] = time_runs({"student": run}, budget.size, TURNS)["student"]
            costs[budget.key] = spread[budget.key]["seconds"]
    rows = compare(request.budgets, costs)
    for found, budget in zip(rows, request.budgets, strict=True):
        found["spread"] = spread.get(budget.key)
        found["predicted"] = budget.kind == "time" and request.profile is not None
        found["over"] = found["reached"] > budget.limit * (1 + TOLERANCE * (budget.kind == "time"))
    return {"budgets": rows}


def read_held(folder: Path) -> list[Pair]:
    """The held-out windows."""
    from srkd.commands.evaluate import open_benchmark
    from srkd.images.reading import read_image

    sides = [read_image(next(iter(sorted((folder / name).iterdir())))).shape[0] for name in ("HR", "LR")]
    return list(open_benchmark(folder, sides[0] // sides[1])[1])


def score_all(
    models: Mapping[str, Any], pairs: Sequence[Pair], scale: int
) -> tuple[Scores, dict[str, float], dict[str, Any]]:
    """Scores of each model on each window, its seconds for an LR pixel, and crops by photograph.

    Args:
        models: weights by name, in the forms of `open_runner`.
        pairs: the held-out windows.
        scale: of bicubic.
    """
    from srkd import metrics
    from srkd.commands.evaluating.scoring import Measures, score_images
    from srkd.upscaling.opening import open_runner

    runners: dict[str, Runner] = {
        name: open_runner(weights, "cpu", scale) for name, weights in models.items()
    }
    scores: Scores = {}
    image = pairs[0].lr
    works = {name: partial(runner, image) for name, runner in runners.items()}
    speed = {
        name: float(np.median(seconds)) / (image.shape[0] * image.shape[1])
        for name, seconds in take_turns(works, _TURNS).items()
    }
    for name in track(runners, "scoring on held-out photographs", len(runners)):
        runner = runners[name]
        measures = Measures(metrics.protocol_name("y-crop", runner.scale), LPIPS)
        (scores[name],), _ = score_images([runner], pairs, measures)
        for row in scores[name]:
            row["psnr"] = min(row["psnr"], metrics.LARGEST_PSNR)
    return scores, speed, {pair.name: crop_all(pair, runners, scale) for pair in pairs[:SHOWN]}


def crop_all(pair: Pair, runners: Mapping[str, Runner], scale: int) -> dict[str, np.ndarray]:
    """The busiest square of a window: LR as pixels, each network's, and HR."""
    from srkd.reports.page import busiest_window

    side = min(SHOWN_SIDE, *pair.hr.shape[:2])
    side -= side % scale
    top, left = (place - place % scale for place in busiest_window(pair.hr, side))
    box = slice(top, top + side), slice(left, left + side)
    small = pair.lr[top // scale : (top + side) // scale, left // scale : (left + side) // scale]
    pictures = {name: runner(pair.lr)[box] for name, runner in runners.items()}
    return {
        "LR": small.repeat(scale, 0).repeat(scale, 1),
        **pictures,
        "HR": np.ascontiguousarray(pair.hr[box]),
    }


def save_crops(crops: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Keeps the report's crops as files, numbered in their order."""
    from srkd.images.writing import write_image

    for photo, images in crops.items():
        for number, (name, image) in enumerate(images.items()):
            write_image(folder / Path(photo).stem / f"{number}_{name}.png", image)


def find_rival(pipeline: Pipeline, shipped: Sequence[str], traits: Traits) -> str | None:
    """The first of the shipped weights within the budgets that could make training needless: those of the
    teacher's kind, but not the teacher."""
    others = [name for name in shipped if name.endswith(f"_{traits.kind}") and name != pipeline.path.stem]
    return others[0] if others and not traits.restoring else None


def bd_of_control(
    student: Sequence[Mapping[str, Any]], control: Sequence[Mapping[str, Any]], pairs: Sequence[Pair]
) -> dict[str, Any]:
    """The student's curve from its PSNR-trained start against its control's: BD-LPIPS and BD-PSNR."""
    curves = {}
    for label, phases in (("student", student), ("control", control)):
        last = phases[-1]
        points = []
        for alpha in track(ALPHAS, f"curve of the {label}", len(ALPHAS)):
            found = score_network(between(last["start"], last["weights"], alpha), pairs, LPIPS)
            points.append([found["psnr"], found["lpips"]])
        curves[label] = points
    found = bd_difference(curves["student"], curves["control"])
    return {**found._asdict(), "curves": curves}


def mean_scores(scores: Scores) -> list[dict[str, Any]]:
    """The table's rows: means over the windows."""
    return [
        {
            "model": name,
            **{key: float(np.mean([row[key] for row in rows])) for key in ("psnr", "ssim", LPIPS)},
        }
        for name, rows in scores.items()
    ]


def differences(scores: Scores, student: str, others: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The student's mean differences from others, with 95 % intervals over the windows, and verdicts."""
    found: dict[str, dict[str, Any]] = {}
    for other in others:
        found[other] = {}
        for key in ("psnr", LPIPS):
            gap = paired_interval([r[key] for r in scores[student]], [r[key] for r in scores[other]])
            found[other][key] = {**gap, "verdict": tell_apart(gap, key == "psnr")}
    return found


def judge(result: Mapping[str, Any], traits: Traits) -> tuple[bool, list[str]]:
    """Whether the student is worth having, and why, in sentences."""
    key = "psnr" if traits.kind == "psnr" else LPIPS
    gaps, rows = result["differences"], {row["model"]: row for row in result["scores"]}
    own, bicubic, teacher = (rows[name][key] for name in ("student", "bicubic", "teacher"))
    said, worth = [], True
    verdict = gaps["bicubic"][key]["verdict"]
    said.append(f"Against bicubic: {_words(gaps['bicubic'])}.")
    if verdict != BETTER:
        worth = False
        said.append(
            "Not worth having: on held-out photographs it is not measurably better than bicubic, which costs "
            "nothing."
        )
    way = (own - bicubic) / (teacher - bicubic) if teacher != bicubic else float("nan")
    ratio = result["speed"]["teacher"] / max(result["speed"]["student"], 1e-12)
    if np.isfinite(way) and (teacher - bicubic) * (1 if key == "psnr" else -1) > 0:
        said.append(
            f"In {'PSNR' if key == 'psnr' else LPIPS} it goes {way:.0%} of the teacher's way from bicubic, "
            f"in {1 / ratio:.2g} times the teacher's time on this machine."
        )
    if "control" in gaps:
        verdict = gaps["control"][key]["verdict"]
        words = {
            BETTER: "the teacher helped",
            WORSE: "the teacher did harm; the control's weights are in work/control-*/run",
        }.get(verdict, "the difference may be chance")
        said.append(
            f"Against its control, trained alike without the teacher: {_words(gaps['control'])}; {words}."
        )
    for name, found in gaps.items():
        if name.startswith("shipped ") and found[key]["verdict"] == WORSE:
            worth = False
            said.append(f"Not worth having: {name} keeps the budget too, and is better ({_words(found)}).")
    if any(row["over"] for row in result["budgets"]):
        worth = False
        over = "; ".join(f"{row['said']} for {row['budget']}" for row in result["budgets"] if row["over"])
        said.append(f"Not within the budget: {over}.")
    return worth, said


# Of verdicts that say little by themselves.
_VERDICTS = {EQUAL: "no clear difference"}


def _words(gaps: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for key, unit in (("psnr", " dB"), (LPIPS, " LPIPS")):
        gap = gaps[key]
        width = "" if gap["half_width"] is None else f" ± {gap['half_width']:.{2 if key == 'psnr' else 4}f}"
        verdict = _VERDICTS.get(gap["verdict"], gap["verdict"])
        parts.append(f"{gap['mean']:+.{2 if key == 'psnr' else 4}f}{width}{unit} ({verdict})")
    return " and ".join(parts)


def announce(result: Mapping[str, Any]) -> None:
    """Prints what was reached."""
    for row in result["budgets"]:
        spread = row["spread"]
        low, high = (f"{x * 1e3:.3g}" for x in spread["quartiles"]) if spread else ("", "")
        quartiles = f" (quartiles {low} to {high} ms, {spread['turns']} turns)" if spread else ""
        how = "predicted" if row["predicted"] else "reached"
        say(f"{row['budget']}: {how} {row['said']}{quartiles}{'' if not row['over'] else ', OVER'}")
    for line in result["verdict"]:
        if line.startswith("Not "):
            note(line, "warning")
        else:
            say(line)
