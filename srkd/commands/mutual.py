"""`srkd mutual`: a cohort whose discriminators distil one another."""

from typing import Literal, Unpack

from srkd.files import StrPath
from srkd.recipe import RunOptions
from srkd.terminal import Progress, reports
from srkd.training import Run
from srkd.training.launch import launch


@reports
def mutual(
    data: StrPath,
    *,
    strategy: Literal["mutual"] = "mutual",
    model: str | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
    **options: Unpack[RunOptions],
) -> Run:
    """Train a cohort whose discriminators distil one another.

    `members` generators have `critics` discriminators each: several SRGANs, or several discriminators of one
    generator.

    Args:
        strategy: named in recipes; this is the only one.

    Returns:
        The run. srkd.recipe.RunOptions describes the other arguments, srkd.training.launch.launch the errors.
    """
    return launch(data, strategy, model, options)
