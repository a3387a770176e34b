"""`python -m srkd.training RECIPE.yaml`: runs a recipe that names its strategy, or resumes it."""

import sys

from srkd.config import load_recipe
from srkd.errors import SrkdError
from srkd.recipe import Recipe
from srkd.terminal import accept_all_characters


def main() -> int:
    """Returns 0, 1 for a failure, 2 for misuse, or 130 when interrupted."""
    from srkd.training.run import run

    accept_all_characters()
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
