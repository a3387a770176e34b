"""Work for the workers of test_engines.py, which import it by its name."""

import os
import signal
from pathlib import Path

from srkd import SrkdError


def square(common, item):
    if item == 3:
        raise SrkdError("three")
    if item == 4:
        raise ValueError("four")
    return common + item * item


def die_once(marks, item):
    """Kills its own worker the first time that it is given an item, and notes each attempt."""
    mark = Path(marks) / str(item)
    with mark.open("a") as file:
        file.write("x")
    if item == 2 and mark.stat().st_size == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def note_start(marks, item):
    (Path(marks) / str(item)).touch()
    return item
