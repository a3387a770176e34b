"""The folder's page, card and `compression.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from srkd.commands.compressing.pipeline import Pipeline
from srkd.commands.compressing.recipes import RECIPES
from srkd.commands.compressing.teacher import LPIPS, Traits
from srkd.degradation import make_degradation
from srkd.files import write_text
from srkd.search.budgets import describe_cost
from srkd.search.choosing import Row

_TITLES = {
    "teacher": "looking at the teacher",
    "search": "the search",
    "photographs": "photographs and the teacher's outputs",
    "race": "the race",
    "start": "the start",
    "plan": "the plan",
    "export": "export",
    "result": "measuring and scores",
}

_TRAINED_ON = "The student was trained on ST-LPIPS, which is therefore no independent score of it."


def read_crops(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """What `save_crops` kept."""
    from srkd.images.reading import read_image

    return {
        photo.name: {path.stem.partition("_")[2]: read_image(path) for path in sorted(photo.iterdir())}
        for photo in sorted(folder.iterdir())
    }


def write_summary(
    pipeline: Pipeline,
    search: Mapping[str, Any],
    row: Row,
    traits: Traits,
    degradation: Any,
    start: Mapping[str, str],
    plan: Mapping[str, Any],
    student: Sequence[Mapping[str, Any]],
    control: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any],
    command: str,
) -> Path:
    """Writes `report.html`, `student.md` and `compression.json`; returns the page."""
    from srkd.commands.card import card
    from srkd.reports.compression import candidate_rows, write_page

    folder, request, steps = pipeline.steps.folder, pipeline.request, pipeline.steps
    costs = [(b.text, b.key, partial(describe_cost, b.kind)) for b in request.budgets]
    texts = {
        "title": f"srkd compress: {pipeline.path.name} to {', '.join(b.text for b in request.budgets)}",
        "summary": _summarise(pipeline, row, traits),
        "worth": result["worth"],
        "verdict": result["verdict"],
        "budgets": _budget_rows(result["budgets"]),
        "scores": _score_rows(pipeline, row, result),
        "held": _describe_held(result, degradation, plan["recipe"]),
        "bd": _describe_bd(result.get("bd")),
        "candidates": candidate_rows(search["rows"], row.candidate.name, costs),
        "why": _explain(search, row),
        "search_notes": search["notes"],
        "training_notes": _describe_training(pipeline, start, plan, traits, degradation),
        "hours": [
            {"step": _TITLES.get(name, name.replace("-", ", ")), "minutes": f"{seconds / 60:.1f}"}
            for name, seconds in {**steps.seconds, "all": sum(steps.seconds.values())}.items()
        ],
        "commands": _commands(pipeline, folder, command),
    }
    runs = {"student": [Path(one["folder"]) for one in student]}
    runs |= {"control": [Path(one["folder"]) for one in control]} if control else {}
    report = folder / "report.html"
    write_page(report, texts, runs, read_crops(steps.place("result") / "crops"))
    card(result["files"]["safetensors"], out=folder / "student.md", overwrite=True, verbose=False)
    facts = {
        "command": command,
        "teacher": {"file": pipeline.path.name, "sha256": pipeline.digest, **asdict(traits)},
        "student": row.to_json(),
        "start": dict(start),
        "plan": dict(plan),
        "result": {**result, "files": {name: Path(path).name for name, path in result["files"].items()}},
        "seconds": steps.seconds,
    }
    write_text(folder / "compression.json", json.dumps(facts, indent=1) + "\n")
    return report


def _summarise(pipeline: Pipeline, row: Row, traits: Traits) -> str:
    words = {"psnr": "trained for PSNR", "gan": "trained adversarially"}[traits.kind]
    repairs = "repairs" if traits.restoring else "does not repair"
    return (
        f"Teacher: {pipeline.path.name}, x{pipeline.scale}, {words} ({traits.why_kind}). "
        f"It {repairs} degraded photographs: {traits.why_restoring}. "
        f"Student: {row.candidate.name}, {row.candidate.parameters:,} parameters, for "
        f"{pipeline.request.place.describe()}."
    )


def _budget_rows(budgets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The table; quartiles where there are any."""
    rows = [_budget_row(one) for one in budgets]
    spread = any(row["quartiles"] for row in rows)
    return [{key: value for key, value in row.items() if spread or key != "quartiles"} for row in rows]


def _budget_row(one: Mapping[str, Any]) -> dict[str, Any]:
    spread = one["spread"]
    quartiles = ""
    if spread:
        low, high = (f"{x * 1e3:.3g}" for x in spread["quartiles"])
        quartiles = f"{low} to {high} ms, {spread['turns']} turns"
    state = "kept" if one["kept"] else "over" if one["over"] else "over, within 10 %"
    how = "predicted for the device" if one["predicted"] else "measured" if spread else "counted"
    return {"budget": one["budget"], "student": one["said"], "quartiles": quartiles, "how": how, "": state}


def _score_rows(pipeline: Pipeline, row: Row, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for one in result["scores"]:
        speed = result["speed"][one["model"]] / result["speed"]["student"]
        gaps = result["differences"].get(one["model"])
        words = "" if gaps is None else f"{-gaps['psnr']['mean']:+.2f} dB, {-gaps[LPIPS]['mean']:+.4f}"
        found.append({**one, "against the student": words, "time": f"{speed:.2g}"})
    return found


def _describe_held(result: Mapping[str, Any], degradation: Any, recipe: str) -> str:
    mix = make_degradation(degradation)
    made = "by MATLAB's bicubic" if mix is None else f"degraded at random as {mix.preset}, with fixed seeds"
    return (
        f"Means over the busiest windows of {result['held']} photographs that training has not seen; LR "
        f"made {made}. PSNR and "
        f"SSIM under y-crop, LPIPS by the offline ST-LPIPS AlexNet (lower is better). Intervals are of 95 % "
        f"over these photographs, for one training: another seed gives other numbers. Time is relative to "
        f"the student's, each network in the runtime that srkd evaluate takes for it."
    ) + (" " + _TRAINED_ON if any("lpips" in loss for loss in _list_losses(recipe)) else "")


def _describe_bd(bd: Mapping[str, Any] | None) -> str:
    if bd is None:
        return ""
    parts = []
    for key, unit in (("lpips", "LPIPS at equal PSNR (negative is better)"), ("psnr", "dB at equal LPIPS")):
        parts.append(
            f"{bd[key]:+.4f} {unit}" if bd[key] is not None else f"no {unit}, since {bd[f'why_no_{key}']}"
        )
    return f"BD of the student's curve from its start, against the control's: {' and '.join(parts)}."


def _explain(search: Mapping[str, Any], row: Row) -> str:
    own = search["chosen"]["name"]
    if row.candidate.name != own:
        return f"{row.candidate.name} won the race. Before it: {search['why']}."
    return f"{search['why']}. The table shows what was measured, and the best of the others."


def _describe_training(
    pipeline: Pipeline, start: Mapping[str, str], plan: Mapping[str, Any], traits: Traits, degradation: Any
) -> list[str]:
    counts = pipeline.steps.done["photographs"]["result"]
    phases = "; ".join(
        f"{one['phase']}: " + ", ".join(f"{name} {count:,} steps" for name, count in one["steps"].items())
        for one in plan["phases"]
    )
    mix = make_degradation(degradation)
    raced = [f"Race, round {number}: {one}." for number, one in enumerate(pipeline.raced, 1)]
    return [
        *raced,
        f"Recipe {plan['recipe']} (srkd/commands/compressing/recipes.py), from {start['said']}. {phases}.",
        f"{counts['crops']} crops of {len(pipeline.train)} photographs, LR by "
        f"{'bicubic' if mix is None else mix.preset}; the "
        f"teacher takes {traits.seconds_per_pixel * 1e6:.3g} microseconds for an LR pixel here.",
    ]


def _list_losses(recipe: str) -> set[str]:
    """The losses that a recipe sets, by name."""
    stages = [stage for phase in RECIPES[recipe] for stage in phase.stages.values() if stage]
    return {name for stage in stages for name in stage.get("losses", {})}


def _commands(pipeline: Pipeline, folder: Path, command: str) -> str:
    held = pipeline.steps.place("photographs") / "held"
    lines = [
        "# the same again, from what is kept",
        command,
        "# the scores",
        f"srkd evaluate bicubic {folder}/student.onnx {pipeline.path} --data {held}",
        "# its runs' recipes",
    ]
    places = sorted((folder / "work").glob("*/run/recipe.yaml"))
    lines += [f"srkd train {path.parent.parent.parent}/photographs/packed --config {path}" for path in places]
    return "\n".join(lines)
