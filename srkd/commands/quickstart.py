"""`srkd quickstart`: `srkd compress` in a few minutes, on photographs that are already installed."""

from typing import Any

from srkd.commands.compress import Compression, compress, describe_command
from srkd.files import StrPath
from srkd.terminal import Progress, reports, say

TEACHER, PHOTOGRAPHS = "srgan_teacher_psnr", "embedded"
# A budget that no shipped student keeps.
OPTIONS: dict[str, Any] = {"budget": "50kparams", "control": True}


@reports
def quickstart(
    out: StrPath = "quickstart",
    *,
    hours: float = 0.04,
    seed: int = 0,
    verbose: bool = True,
    progress: Progress | None = None,
) -> Compression:
    """Compress a shipped teacher in minutes, on photographs that are installed.

    Calls `srkd compress` with a teacher, photographs and a budget, and says how: the same command with your
    own makes a student of yours. Training this short shows that everything works; it says nothing about how
    good a student can become, or about what a teacher is worth.

    Args:
        out: folder for the student, `report.html` and the work; new, empty, or an earlier call's, which is
            continued.
        hours: for training; the default suits two CPU cores, and a slower machine takes more.
        seed: decides crops and weights.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        What was found and made.

    Raises:
        UsageError: the folder holds something else.
        SrkdError: a step failed; earlier ones are kept.
    """
    given = {"teacher": TEACHER, "data": PHOTOGRAPHS, **OPTIONS, "out": out, "hours": hours, "seed": seed}
    say(f"this is: {describe_command(given)}")
    return compress(**given, verbose=verbose, progress=progress)
