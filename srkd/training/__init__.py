"""The training verbs. Importing this package imports no torch; running a verb does."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from srkd.errors import UsageError
from srkd.training.recipe import Recipe


@dataclass(frozen=True)
class Run:
    """What a training run left behind.

    Args:
        folder: weights, `recipe.yaml`, `run.json`, `log.jsonl`, and checkpoints until the run is finished.
        weights: the generator's weights after each stage, by the stage's name (the first member's).
        psnr: the last validation PSNR of each stage in dB, `y-crop`.
    """

    folder: Path
    weights: dict[str, Path] = field(default_factory=dict)
    psnr: dict[str, float] = field(default_factory=dict)


def train(
    data: str,
    *,
    strategy: Literal["srgan", "pretrain", "extend"] = "srgan",
    model: str | None = None,
    out: str = "runs/train",
    resume: bool = False,
    allow_changes: bool = False,
    dry_run: bool = False,
    print_config: bool = False,
    **options: Any,
) -> Run | None:
    """Train a teacher, or a student without distillation: a PSNR stage, then a GAN stage.

    Args:
        data: folder of HR photographs (LR is made), or with HR and LR inside, or packed by `srkd prepare`, or
            `embedded`.
        strategy: `srgan` for both stages, `pretrain` for the PSNR stage alone; `extend` as in srkd extend.
        model: the generator to train, a name that `srkd models` lists; when not given, that of `start`, or
            `srgan_teacher` for the strategy srgan and `srgan_student_lite` for others.
        out: folder for weights, checkpoints and logs.
        resume: go on from the last checkpoint in `out`; begin where there is none.
        allow_changes: with `resume`, go on although the recipe or the data changed.
        dry_run: take two steps of each stage, and print speed, memory and estimated time; write nothing.
        print_config: print the resolved recipe and do nothing.
    """
    if model is None and strategy == "srgan" and options.get("start") is None:
        model = "srgan_teacher"
    recipe = Recipe(data=data, strategy=strategy, model=model, out=out, **options)
    return _run(recipe, resume, allow_changes, dry_run, print_config)


def distill(
    data: str,
    *,
    strategy: Literal["gan2g", "g2g_al", "gan2g_al", "gan2gan"] = "g2g_al",
    teacher: list[str] | str | None = None,
    model: str | None = None,
    out: str = "runs/distill",
    resume: bool = False,
    allow_changes: bool = False,
    dry_run: bool = False,
    print_config: bool = False,
    **options: Any,
) -> Run | None:
    """Distil a student from a teacher, then fine-tune it adversarially.

    Args:
        data: folder of HR photographs (LR is made), or with HR and LR inside, or packed by `srkd prepare`, or
            `embedded`.
        strategy: which of the four transfers.
        teacher: weights of the teacher: a file of this package, one that spandrel loads, ONNX, or a shipped
            name; may be given several times. Its images come from a packed data set that holds them.
        model: the generator to train, a name that `srkd models` lists; that of `start`, or
            `srgan_student_lite`, when not given.
        out: folder for weights, checkpoints and logs.
        resume: go on from the last checkpoint in `out`; begin where there is none.
        allow_changes: with `resume`, go on although the recipe or the data changed.
        dry_run: take two steps of each stage, and print speed, memory and estimated time; write nothing.
        print_config: print the resolved recipe and do nothing.
    """
    recipe = Recipe(data=data, strategy=strategy, teacher=teacher, model=model, out=out, **options)
    return _run(recipe, resume, allow_changes, dry_run, print_config)


def finetune(
    data: str,
    *,
    strategy: Literal["finetune"] = "finetune",
    start: str | None = None,
    model: str | None = None,
    out: str = "runs/finetune",
    resume: bool = False,
    allow_changes: bool = False,
    dry_run: bool = False,
    print_config: bool = False,
    **options: Any,
) -> Run | None:
    """Fine-tune pretrained weights adversarially, without a teacher.

    Args:
        data: folder of HR photographs (LR is made), or with HR and LR inside, or packed by `srkd prepare`, or
            `embedded`.
        strategy: named in recipes; there is but this one.
        start: weights to fine-tune.
        model: the generator to train, a name that `srkd models` lists; that of `start`, or
            `srgan_student_lite`, when not given.
        out: folder for weights, checkpoints and logs.
        resume: go on from the last checkpoint in `out`; begin where there is none.
        allow_changes: with `resume`, go on although the recipe or the data changed.
        dry_run: take two steps of each stage, and print speed, memory and estimated time; write nothing.
        print_config: print the resolved recipe and do nothing.
    """
    if start is None:
        raise UsageError("fine-tuning starts from trained weights; give --start FILE")
    recipe = Recipe(data=data, strategy=strategy, start=start, model=model, out=out, **options)
    return _run(recipe, resume, allow_changes, dry_run, print_config)


def mutual(
    data: str,
    *,
    strategy: Literal["mutual"] = "mutual",
    members: int = 2,
    critics: int = 1,
    model: str | None = None,
    out: str = "runs/mutual",
    resume: bool = False,
    allow_changes: bool = False,
    dry_run: bool = False,
    print_config: bool = False,
    **options: Any,
) -> Run | None:
    """Train a cohort whose discriminators distil one another: K SRGANs, or K critics of one generator.

    Args:
        data: folder of HR photographs (LR is made), or with HR and LR inside, or packed by `srkd prepare`, or
            `embedded`.
        strategy: named in recipes; there is but this one.
        members: generators in the cohort, each with critics of its own.
        critics: discriminators of each generator; `--members 1 --critics 3` gives one generator three.
        model: the generator to train, a name that `srkd models` lists; that of `start`, or
            `srgan_student_lite`, when not given.
        out: folder for weights, checkpoints and logs.
        resume: go on from the last checkpoint in `out`; begin where there is none.
        allow_changes: with `resume`, go on although the recipe or the data changed.
        dry_run: take two steps of each stage, and print speed, memory and estimated time; write nothing.
        print_config: print the resolved recipe and do nothing.
    """
    recipe = Recipe(
        data=data, strategy=strategy, members=members, critics=critics, model=model, out=out, **options
    )
    return _run(recipe, resume, allow_changes, dry_run, print_config)


def _run(recipe: Recipe, resume: bool, allow_changes: bool, dry_run: bool, print_config: bool) -> Run | None:
    recipe.resolve()
    if print_config:
        print(recipe.to_yaml(), end="")
        return None
    if dry_run:
        from srkd.training.dry import dry_run as run_dry

        return run_dry(recipe)
    from srkd.training.fit import run

    return run(recipe, resume, allow_changes)
