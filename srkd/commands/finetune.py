"""`srkd finetune`: adversarial fine-tuning alone."""

from typing import Literal, Unpack

from srkd.files import StrPath
from srkd.recipe import RunOptions, make_recipe
from srkd.terminal import Progress, reports
from srkd.training import Run


@reports
def finetune(
    data: StrPath,
    *,
    strategy: Literal["finetune"] = "finetune",
    model: str | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
    **options: Unpack[RunOptions],
) -> Run:
    """Fine-tune pretrained weights, those of `start`, adversarially and without a teacher.

    Args:
        data: folder of HR photographs (LR is made), or with HR and LR inside, or packed by `srkd prepare`, or
            `embedded`.
        strategy: named in recipes; this is the only one.
        model: the generator to train, a name that `srkd models` lists; when not given, that of `start`, or
            `srgan_student_lite`.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.
        options: as in srkd.recipe.RunOptions.

    Returns:
        The run: its folder, the weights and the validation PSNR after each stage.

    Raises:
        UsageError: the recipe cannot be carried out as it stands; nothing was trained.
        SrkdError: training failed; earlier checkpoints are intact.
    """
    recipe = make_recipe(data, strategy, model, options)
    from srkd.training.run import run

    return run(recipe, options.get("resume", False), options.get("allow_changes", False))
