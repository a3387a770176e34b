"""`srkd train`: a teacher, or a student without distillation."""

from typing import Literal, Unpack

from srkd.files import StrPath
from srkd.recipe import RunOptions, make_recipe
from srkd.terminal import Progress, reports
from srkd.training import Run


@reports
def train(
    data: StrPath,
    *,
    strategy: Literal["srgan", "pretrain", "extend"] = "srgan",
    model: str | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
    **options: Unpack[RunOptions],
) -> Run:
    """Train a teacher, or a student without distillation: a PSNR stage, then a GAN stage.

    Args:
        data: folder of HR photographs (LR is made), or with HR and LR inside, or packed by `srkd prepare`, or
            `embedded`.
        strategy: `srgan` for both stages, `pretrain` for the PSNR stage alone; `extend` as in srkd extend.
        model: the generator to train, a name that `srkd models` lists; when not given, that of `start`, or
            `srgan_teacher` for the strategy srgan and `srgan_student_lite` for others.
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
