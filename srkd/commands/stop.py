"""`srkd stop`: ends a run that trains elsewhere."""

import platform
import time
from pathlib import Path
from typing import Any

from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, write_text
from srkd.terminal import Progress, reports, say
from srkd.training.logs import LOCK, STATE, STOP, is_locked, read_facts

_EVERY = 0.2  # seconds between looks


@reports
def stop(
    run: StrPath, *, wait: float = 120.0, verbose: bool = True, progress: Progress | None = None
) -> dict[str, Any]:
    """Stop a training run from another shell: it saves a checkpoint after its step, and ends.

    The request is a file in the run's folder, which the run looks for at each step. So it reaches runs on
    other machines too, where the folder is shared, and never another process than the run. --resume continues
    from there. The run itself ends as by Ctrl-C, with exit code 130; this command with 0 once nothing trains
    in the folder, 1 where the run has not stopped in time, and 2 where there is no run.

    Args:
        run: the run's folder.
        wait: seconds to wait for the run; 0 leaves the request and returns.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        What the run said last, as `run.json` holds it: `state`, `stage`, `step` and more.

    Raises:
        UsageError: there is no run.
        SrkdError: the run did not stop in time, or the request cannot be written; a request that is written
            stands, until the run stops.
    """
    folder = Path(run)
    facts = _read(folder)
    elsewhere = facts.get("host") not in (None, platform.node())
    running = facts["state"] == "running"
    if not is_locked(folder) and not (running and elsewhere):
        what = "was killed" if running else f"is {facts['state']}"
        say(
            f"nothing trains in {folder}: its run {what}, at step {facts.get('step')} of {facts.get('stage')}"
        )
        return {**facts, "state": "interrupted" if running else facts["state"]}
    where = f" on {facts['host']}" if elsewhere else ""
    write_text(folder / STOP, "")
    say(f"asked the run in {folder}{where} to stop")
    if not wait > 0:
        return facts
    began = time.monotonic()
    while is_locked(folder) or (elsewhere and _read(folder)["state"] == "running"):
        if time.monotonic() - began > wait:
            raise SrkdError(
                f"the run in {folder}{where} has not stopped in {wait:g} s; the request stands, and it stops "
                f"at its next step (to withdraw it, remove {folder / STOP})"
            )
        time.sleep(_EVERY)
    (folder / STOP).unlink(missing_ok=True)
    facts = read_facts(folder)
    if facts is None:
        raise SrkdError(f"the run in {folder} ended before its first step; its own output says why")
    if facts["state"] == "running":
        facts["state"] = "interrupted"
    then = "; --resume continues from there" if facts["state"] in ("stopped", "interrupted") else ""
    say(f"{facts['state']} at step {facts['step']} of {facts['stage']}{then}")
    return facts


def _read(folder: Path) -> dict[str, Any]:
    """What a run last said.

    Raises:
        UsageError: there is no run.
    """
    facts = read_facts(folder)
    if facts is not None:
        return facts
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    if is_locked(folder) and {path.name for path in folder.iterdir()} <= {LOCK, STOP}:
        # A run that is being set up; it stops after its first step.
        return {"state": "running", "stage": "", "step": 0}
    inside = sorted(str(path.parent) for path in folder.rglob(STATE))
    some = (
        f"; name one of those inside: {', '.join(inside[:5])}{', ...' * (len(inside) > 5)}" if inside else ""
    )
    raise UsageError(f"{folder} holds no run{some}")
