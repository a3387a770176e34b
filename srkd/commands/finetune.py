"""`srkd finetune`: adversarial fine-tuning alone."""

from typing import Literal, Unpack

from srkd.files import StrPath
from srkd.recipe import RunOptions
from srkd.terminal import Progress, reports
from srkd.training import Run
from srkd.training.launch import launch


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
    """Fine-tune trained weights adversarially, without a teacher.

    The weights are those given as `start`.

    Args:
        strategy: named in recipes; this is the only one.

    Returns:
        The run. srkd.recipe.RunOptions describes the other arguments, srkd.training.launch.launch the errors.
    """
    return launch(data, strategy, model, options)
