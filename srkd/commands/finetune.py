"""`srkd finetune`: adversarial fine-tuning alone."""

from typing import Any, Literal

from srkd.commands.train import run_or_show
from srkd.errors import UsageError
from srkd.recipe import Recipe
from srkd.training import Run


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
    return run_or_show(recipe, resume, allow_changes, dry_run, print_config)
