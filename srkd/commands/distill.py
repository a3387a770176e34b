"""`srkd distill`: a student from a teacher."""

from typing import Literal, Unpack

from srkd.files import StrPath
from srkd.recipe import RunOptions
from srkd.terminal import Progress, reports, say
from srkd.training import Run
from srkd.training.launch import launch


@reports
def distill(
    data: StrPath,
    *,
    strategy: Literal["gan2g", "g2g_al", "gan2g_al", "gan2gan"] = "g2g_al",
    model: str | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
    **options: Unpack[RunOptions],
) -> Run:
    """Distil a student from a teacher, then fine-tune it adversarially.

    Args:
        strategy: which of the four transfers.

    Returns:
        The run. srkd.recipe.RunOptions describes the other arguments, srkd.training.launch.launch the errors.
    """
    run = launch(data, strategy, model, options)
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    # Of several processes one speaks.
    if not options.get("control") and not getattr(rank_zero_only, "rank", 0):
        say(
            "What the teacher was worth, its control says: the same command with --control --out "
            f"{run.folder}_control, then srkd evaluate with both weights"
        )
    return run
