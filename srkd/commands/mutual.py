"""`srkd mutual`: a cohort whose discriminators distil one another."""

from typing import Any, Literal

from srkd.commands.train import run_or_show
from srkd.recipe import Recipe
from srkd.training import Run


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
    return run_or_show(recipe, resume, allow_changes, dry_run, print_config)
