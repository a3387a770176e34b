"""`srkd distill`: a student from a teacher."""

from typing import Any, Literal

from srkd.commands.train import run_or_show
from srkd.recipe import Recipe
from srkd.training import Run


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
    return run_or_show(recipe, resume, allow_changes, dry_run, print_config)
