"""`srkd compress`: a teacher, photographs and a budget become a student, with proof."""

import importlib.util
import inspect
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from srkd.arguments import check_device, check_whole
from srkd.degradation import make_degradation
from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath
from srkd.terminal import Progress, heading, reports, say

_FORMATS = ("safetensors", "onnx", "openvino", "ncnn", "litert", "pt2")


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
    runtime: Literal["onnxruntime", "openvino", "ncnn", "litert", "torch-cuda"] = "onnxruntime",
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
    device: str = "auto",
    dry_run: bool = False,
    verbose: bool = True,
    progress: Progress | None = None,
) -> Compression:
    """Distil a teacher into a student that stays within a budget.

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
        runtime: what will run it. Files of litert run on one size, that of the first time in the budget.
        threads: CPU threads of the runtime; all cores when not given.
        precision: of the exported file, where the runtime has it.
        profile: a device.json, which the script that `srkd profile` makes has written on the device; times
            are then predicted for it.
        hours: for the teacher's outputs and training, control and race included. The search and scoring take
            minutes beside it.
        control: train a control too, alike without the teacher, and report what the teacher was worth.
        race: train the four best candidates for a while and take the one that gets furthest.
        format: write these too: openvino, ncnn, litert, pt2. May be given several times.
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
    given = dict(locals())
    formats = _as_list(format)
    _check(formats, hours, threads, seed, scale, degradation)
    check_device(device)
    from srkd.commands.compressing.pipeline import Pipeline
    from srkd.commands.compressing.steps import open_steps

    request = _make_request(given)
    try:
        with open_steps(Path(out)) as steps:
            return _run(Pipeline(request, steps), formats, dry_run, describe_command(given))
    except KeyboardInterrupt:
        say(f"what is done is kept in {out}; the same command continues")
        raise


def _check(formats: Sequence[str], hours: Any, threads: Any, seed: Any, scale: Any, degradation: Any) -> None:
    for name in formats:
        if name not in _FORMATS:
            raise UsageError(f"unknown format '{name}'; choose from: {', '.join(_FORMATS)}")
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours < math.inf:
        raise UsageError(f"--hours must be a positive number, not {hours!r}")
    if threads is not None:
        check_whole("--threads", threads, 1)
    check_whole("--seed", seed, 0)
    if scale is not None:
        check_whole("--scale", scale, 2, 4)
    if degradation is not None:
        make_degradation(degradation)


def _make_request(given: Mapping[str, Any]) -> Any:
    """The arguments of `compress`, checked.

    Raises:
        UsageError: a budget that is none, a runtime that cannot be had, or another's profile.
    """
    from srkd.commands.compressing.request import Request
    from srkd.exports.formats import FORMATS
    from srkd.search.budgets import parse_budgets
    from srkd.search.profiles import read_profile
    from srkd.search.timing import Place

    budgets = parse_budgets(_as_list(given["budget"]))
    # Export would say so, hours later.
    for name in _as_list(given["format"]):
        for package in FORMATS[name].packages:
            if importlib.util.find_spec(package) is None:
                raise UsageError(f"{name} needs the package {package}; pip install 'srkd[{name}]'")
    profile = None if given["profile"] is None else read_profile(Path(given["profile"]))
    wanted = (given["runtime"], given["precision"])
    if profile is not None and (profile.runtime, profile.precision) != wanted:
        raise UsageError(
            f"{given['profile']} has times of {profile.runtime} in {profile.precision}, not of "
            f"{' in '.join(wanted)}"
        )
    same = ("teacher", "data", "val", "degradation", "kind", "control", "race", "fresh", "seed", "device")
    return Request(
        budgets=budgets,
        place=Place(wanted[0], profile.threads if profile else given["threads"], wanted[1]),
        profile=profile,
        hours=float(given["hours"]),
        discriminator=given["teacher_discriminator"],
        architectures=_as_list(given["architecture"]) or None,
        scale=given["scale"],
        **{name: given[name] for name in same},
    )


def _run(pipeline: Any, formats: Sequence[str], dry_run: bool, command: str) -> Compression:
    from srkd.search.choosing import restore

    folder, request = pipeline.steps.folder, pipeline.request
    traits = pipeline.inspect()
    degradation = pipeline.degradation(traits)
    found = pipeline.search(traits)
    base = {"folder": folder, "candidates": found["rows"], "traits": vars(traits)}
    if dry_run:
        from srkd.commands.compressing.words import say_plan

        say_plan(pipeline, traits, degradation)
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
    from srkd.commands.compressing.results import announce, finish
    from srkd.commands.compressing.summary import write_summary

    result = finish(pipeline, row, traits, student, other, formats)
    heading("the student")
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


def _as_list(value: Sequence[str] | str | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def describe_command(given: Mapping[str, Any]) -> str:
    """The command line that does the same again."""
    words = ["srkd", "compress", str(given["teacher"]), str(given["data"])]
    for name, parameter in inspect.signature(compress).parameters.items():
        value = given.get(name)
        if parameter.kind is not parameter.KEYWORD_ONLY or name in ("verbose", "progress", "dry_run"):
            continue
        # Before anything is checked, so that it may be an array, which == compares by elements.
        if value is None or (type(value) is type(parameter.default) and value == parameter.default):
            continue
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [option, str(one)]
    return shlex.join(words)
