"""The way from a training verb to its run. Importing this imports no torch."""

from srkd.files import StrPath
from srkd.recipe import RunOptions, make_recipe
from srkd.training import Run


def launch(data: StrPath, strategy: str, model: str | None, options: RunOptions) -> Run:
    """Runs what the arguments of a training verb say.

    Returns:
        The run: its folder, the weights and the validation PSNR after each stage.

    Raises:
        UsageError: the recipe cannot be carried out as it stands; nothing was trained.
        SrkdError: training failed; earlier checkpoints are intact.
    """
    recipe = make_recipe(data, strategy, model, options)
    from srkd.training.run import run

    return run(recipe, options.get("resume", False), options.get("allow_changes", False))
