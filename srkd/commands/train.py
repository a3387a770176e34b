"""`srkd train`: a teacher, or a student without distillation."""

from typing import Literal, Unpack

from srkd.files import StrPath
from srkd.recipe import RunOptions
from srkd.terminal import Progress, reports
from srkd.training import Run
from srkd.training.launch import launch


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
    """Train a generator: a PSNR stage, then a GAN stage; or by the recipe given as `config`.

    Args:
        strategy: `srgan` for both stages, `pretrain` for the PSNR stage alone; `extend` as in srkd extend.
        model: the generator to train, a name that `srkd models` lists; when not given, that of `start`, or
            `srgan_teacher` for the strategy srgan and `srgan_student_lite` for others.

    Returns:
        The run. srkd.recipe.RunOptions describes the other arguments, srkd.training.launch.launch the errors.
    """
    return launch(data, strategy, model, options)
