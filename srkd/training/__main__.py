"""`python -m srkd.training RECIPE.yaml`: runs a recipe that names its strategy, or resumes it.

With `--with-parent` it stops when its standard input ends.
"""

import os
import signal
import sys
import threading

from srkd.config import load_recipe
from srkd.errors import SrkdError
from srkd.recipe import Recipe
from srkd.terminal import accept_all_characters


def _end_with_parent() -> None:
    """Stops the run, as Ctrl-C does, when standard input ends: whoever started it, and holds the other end,
    is gone."""
    # Not by sys.stdin, whose lock a thread that waits would keep from the interpreter's end.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Returns 0, 1 for a failure, 2 for misuse, or 130 when interrupted."""
    from srkd.training.run import run

    accept_all_characters()
    if "--with-parent" in sys.argv[2:]:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run(Recipe(**load_recipe(sys.argv[1])), resume=True)
        return 0
    except SrkdError as error:
        print(f"srkd: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
