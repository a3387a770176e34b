"""`srkd train`: a teacher, or a student without distillation."""

from typing import Any, Literal

from srkd.recipe import Recipe
from srkd.training import Run


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
    return run_or_show(recipe, resume, allow_changes, dry_run, print_config)


def run_or_show(
    recipe: Recipe, resume: bool, allow_changes: bool, dry_run: bool, print_config: bool
) -> Run | None:
    recipe.resolve()
    if print_config:
        print(recipe.to_yaml(), end="")
        return None
    if dry_run:
        from srkd.commands.estimate import dry_run as run_dry

        return run_dry(recipe)
    from srkd.training.fit import run

    return run(recipe, resume, allow_changes)
