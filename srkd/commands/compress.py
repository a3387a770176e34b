"""`srkd compress`: a teacher, photographs and a budget become a student, with proof."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from srkd.arguments import check_whole
from srkd.degradation import make_degradation
from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath
from srkd.terminal import Progress, heading, reports, say

_FORMATS = ("safetensors", "onnx", "openvino", "ncnn", "pt2")


@dataclass(frozen=True)
class Compression:
    """What `compress` found and made.

    Args:
        folder: with all files.
        student: the chosen network: `name`, `candidate` (architecture, options, parameters ...), `quality`,
            `costs`, `measured`.
        candidates: the search's table, in the same form.
        traits: the teacher's: `kind`, `restoring`, and the scores that say so.
        files: the student by format; empty after a dry run.
        budgets: for each budget `budget`, `limit`, `reached`, `kept`, `spread`.
        scores: for each model its mean `psnr`, `ssim` and LPIPS on the held-out photographs.
        worth: whether the student is worth having; None after a dry run.
        verdict: why, in sentences.
        report: the page.
        hours: spent, by step.
    """

    folder: Path
    student: dict[str, Any]
    candidates: list[dict[str, Any]]
    traits: dict[str, Any]
    files: dict[str, Path] = field(default_factory=dict)
    budgets: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    worth: bool | None = None
    verdict: list[str] = field(default_factory=list)
    report: Path | None = None
    hours: dict[str, float] = field(default_factory=dict)


@reports
def compress(
    teacher: StrPath,
    data: StrPath,
    *,
    budget: Sequence[str] | str | None = None,
    out: StrPath = "student",
    runtime: Literal["onnxruntime", "openvino", "ncnn", "torch-cuda"] = "onnxruntime",
    threads: int | None = None,
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    profile: StrPath | None = None,
    hours: float = 1.0,
    control: bool = False,
    race: bool = False,
    format: Sequence[str] | str | None = None,
    scale: int | None = None,
    val: StrPath | None = None,
    degradation: dict[str, Any] | str | None = None,
    kind: Literal["psnr", "gan"] | None = None,
    teacher_discriminator: StrPath | None = None,
    architecture: Sequence[str] | str | None = None,
    fresh: bool = False,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    dry_run: bool = False,
    verbose: bool = True,
    progress: Progress | None = None,
) -> Compression:
    """Make a student of a teacher that keeps a budget.

    Finds out how the teacher was trained and whether it repairs degraded photographs, searches the
    architectures and sizes for the network that should be best within the budget (its time measured in the
    runtime), trains it from the nearest trained weights, exports it, measures it again, and scores it against
    bicubic and the teacher on photographs that training has not seen: `report.html` in the folder.

    Everything is kept: run the same command again to continue after an interruption. An option that has
    changed starts over with the first step that it touches, and says so.

    Args:
        teacher: weights of the teacher, in the forms of `srkd distill`, or a shipped name.
        data: folder of HR photographs, in the forms of training data, or `embedded`. Some are held out.
        budget: what the student may cost: 30ms@320x180 or 60fps@320x180 (size of the LR image), 200kparams,
            2MB (the exported file), 10GMACs@1280x720 (size of the output). Several with commas, or by
            repeating the option; all are kept.
        out: folder for the student, the report and the work; new, empty, or an earlier call's.
        runtime: what will run it.
        threads: CPU threads of the runtime; all cores when not given.
        precision: of the exported file, where the runtime has it.
        profile: a device.json, which the script that `srkd profile` makes has written on the device; times
            are then predicted for it.
        hours: for the teacher's outputs and training, control and race included. The search and scoring take
            minutes beside it.
        control: train a control too, alike without the teacher, and report what the teacher was worth.
        race: train the four best candidates for a while and take the one that gets furthest.
        format: write these too: openvino, ncnn, pt2. May be given several times.
        scale: the teacher's, for a check.
        val: photographs to hold out, in place of some of data.
        degradation: how LR is made, as in training; when not given, `none`, or Real-ESRGAN's with a fifth of
            clean pairs for a teacher that repairs photographs.
        kind: how the teacher was trained, where what is found out is wrong.
        teacher_discriminator: its discriminator, if not beside it as training writes it.
        architecture: of students: span, srgan, compact. May be given several times; all when not given.
        fresh: start from fresh weights.
        seed: decides crops and weights.
        device: where to train.
        dry_run: search, and say what would be done; train nothing.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        What was found and made.

    Raises:
        UsageError: a budget, file or option that is none, too few photographs, too little time; nothing was
            trained.
        SrkdError: no network keeps the budget (the message names the nearest), the student does not keep it
            when it is measured at the end (its files and report are there), or a step failed; earlier ones
            are kept.
    """
    formats = _as_list(format)
    for name in formats:
        if name not in _FORMATS:
            raise UsageError(f"unknown format '{name}'; choose from: {', '.join(_FORMATS)}")
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours < math.inf:
        raise UsageError(f"--hours must be a positive number, not {hours!r}")
    if threads is not None:
        check_whole("--threads", threads, 1)
    check_whole("--seed", seed, 0)
    if degradation is not None:
        make_degradation(degradation)
    from srkd.commands.compressing.pipeline import Pipeline, Request
    from srkd.commands.compressing.steps import open_steps
    from srkd.search.budgets import parse_budgets
    from srkd.search.profiles import read_profile
    from srkd.search.timing import Place

    budgets = parse_budgets(_as_list(budget))
    known = None if profile is None else read_profile(Path(profile))
    if known is not None and (known.runtime != runtime or known.precision != precision):
        raise UsageError(
            f"{profile} has times of {known.runtime} in {known.precision}, not of {runtime} in "
            f"{precision}; make a kit "
            f"for it: srkd profile KIT --precision {precision}"
        )
    request = Request(
        teacher,
        data,
        val,
        budgets,
        Place(runtime, known.threads if known else threads, precision),
        known,
        float(hours),
        degradation,
        kind,
        teacher_discriminator,
        _as_list(architecture) or None,
        control,
        race,
        fresh,
        seed,
        device,
        scale,
    )
    command = _describe_command(locals())
    try:
        with open_steps(Path(out)) as steps:
            pipeline = Pipeline(request, steps)
            return _run(pipeline, formats, dry_run, command)
    except KeyboardInterrupt:
        say(f"what is done is kept in {out}; the same command continues")
        raise


def _run(pipeline: Any, formats: Sequence[str], dry_run: bool, command: str) -> Compression:
    from srkd.search.choosing import restore

    folder, request = pipeline.steps.folder, pipeline.request
    traits = pipeline.inspect()
    degradation = pipeline.degradation(traits)
    found = pipeline.search()
    base = {"folder": folder, "candidates": found["rows"], "traits": vars(traits)}
    if dry_run:
        _say_plan(pipeline, traits, degradation)
        return Compression(student=found["chosen"], **base)
    pipeline.prepare(traits, degradation)
    settings = pipeline.settings()
    chosen = found["chosen"]
    if request.race:
        from srkd.commands.compressing.race import race

        chosen = race(pipeline, traits, settings, found["runners"])
    row = restore(chosen)
    start = pipeline.start(row, traits)
    plan = pipeline.plan(traits, start, settings)
    student = pipeline.train_student(plan, start, settings, control=False)
    other = pipeline.train_student(plan, start, settings, control=True) if request.control else []
    result = _finish(pipeline, row, traits, student, other, formats)
    heading("the student")
    from srkd.commands.compressing.results import announce
    from srkd.commands.compressing.summary import write_summary

    announce(result)
    report = write_summary(
        pipeline, found, row, traits, degradation, start, plan, student, other, result, command
    )
    say(f"-> {report}")
    over = [line for line in result["budgets"] if line["over"]]
    if over:
        raise SrkdError(
            f"the student takes {over[0]['said']}, and {over[0]['budget']} was asked for; it and the "
            f"report are in {folder}"
        )
    return Compression(
        student=chosen,
        files={name: Path(path) for name, path in result["files"].items()},
        budgets=result["budgets"],
        scores=result["scores"],
        worth=result["worth"],
        verdict=result["verdict"],
        report=report,
        hours={name: seconds / 3600 for name, seconds in pipeline.steps.seconds.items()},
        **base,
    )


def _finish(
    pipeline: Any,
    row: Any,
    traits: Any,
    student: Sequence[Mapping[str, Any]],
    other: Sequence[Mapping[str, Any]],
    formats: Sequence[str],
) -> dict[str, Any]:
    """Writes the student, measures it again and scores it, or takes that from an earlier call."""
    from srkd.commands.compressing import results
    from srkd.commands.compressing.summary import save_crops
    from srkd.search.choosing import restore

    request, folder = pipeline.request, pipeline.steps.folder
    weights = Path(student[-1]["weights"])

    def work(place: Path) -> dict[str, Any]:
        photos = str(pipeline.steps.place("photographs") / "crops")
        files = results.write_files(
            weights, folder, formats, request.place.precision, request.place.format, photos
        )
        found = {"files": files, **results.measure_student(pipeline, row, files, weights)}
        pairs = results.read_held(pipeline.steps.place("photographs") / "held")
        table = [restore(one) for one in pipeline.steps.done["search"]["result"]["rows"]]
        rival = results.find_rival(pipeline, table, traits)
        models = {"bicubic": "bicubic"}
        models |= {f"shipped {rival}": rival} if rival else {}
        models |= {"control": other[-1]["weights"]} if other else {}
        models |= {"student": files["onnx"], "teacher": str(pipeline.path)}
        scores, speed, crops = results.score_all(models, pairs, pipeline.scale)
        save_crops(crops, place / "crops")
        found |= {"scores": results.mean_scores(scores), "speed": speed, "held": len(pairs)}
        found["differences"] = results.differences(
            scores, "student", [name for name in scores if name != "student"]
        )
        if other and len(student) and traits.kind == "gan":
            found["bd"] = results.bd_of_control(student, other, pairs)
        worth, verdict = results.judge(found, traits)
        return {**found, "worth": worth, "verdict": verdict}

    inputs = {
        "student": [{k: v for k, v in phase.items() if k != "psnr"} for phase in student],
        "control": [{k: v for k, v in phase.items() if k != "psnr"} for phase in other],
        "trained": [
            pipeline.steps.done[name]["inputs"] for name in pipeline.steps.done if name.startswith("student-")
        ],
        "formats": list(formats),
        "runtime": request.place.describe(),
        "budget": [one.text for one in request.budgets],
    }
    return pipeline.steps.do("result", "export, measuring and scores", inputs, work)


def _say_plan(pipeline: Any, traits: Any, degradation: Any) -> None:
    """Says what a command would go on to do."""
    from srkd.commands.compressing.photographs import CROP_SIDE, plan_crops, typical_pixels
    from srkd.commands.compressing.pipeline import TEACHER_SHARE
    from srkd.commands.compressing.recipes import choose_recipe

    request = pipeline.request
    recipe = choose_recipe(traits, pipeline.discriminator is not None, request.hours >= 1)
    pixels = typical_pixels(pipeline.train)
    seconds = request.hours * 3600 * TEACHER_SHARE
    count = plan_crops(len(pipeline.train), pixels, pipeline.scale, seconds, traits.seconds_per_pixel)
    minutes = count * CROP_SIDE**2 * traits.seconds_per_pixel / 60
    mix = make_degradation(degradation)
    made = "bicubic" if mix is None else f"the degradation {mix.preset}"
    say(
        f"photographs: {len(pipeline.train)} to train on, {len(pipeline.held)} held out; {count} crops, "
        f"LR by {made}; the "
        f"teacher's outputs on them take about {minutes:.1f} minutes"
    )
    beside = ", and as long for the control" if request.control else ""
    say(f"training: recipe {recipe}, {pipeline.training_seconds() / 60:.1f} minutes{beside}")
    say("a dry run: nothing was trained")


def _as_list(value: Sequence[str] | str | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _describe_command(given: Mapping[str, Any]) -> str:
    """The command line that does the same again."""
    import inspect

    words = ["srkd", "compress", str(given["teacher"]), str(given["data"])]
    for name, parameter in inspect.signature(compress).parameters.items():
        value = given.get(name)
        if parameter.kind is not parameter.KEYWORD_ONLY or name in ("verbose", "progress", "dry_run"):
            continue
        if value == parameter.default or value is None:
            continue
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
            continue
        for one in [value] if isinstance(value, str | Path | int | float | dict) else value:
            words += [option, str(one)]
    return shlex.join(words)
