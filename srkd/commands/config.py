"""`srkd config`: the recipe that a training verb would run."""

from typing import Unpack

from srkd.files import StrPath
from srkd.recipe import RunOptions, make_recipe
from srkd.strategies import StrategyName
from srkd.terminal import Progress, answer, reports


@reports
def show_config(
    data: StrPath,
    *,
    strategy: StrategyName = "g2g_al",
    model: str | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
    **options: Unpack[RunOptions],
) -> str:
    """Print the full recipe as YAML, to be given to `--config`.

    Args:
        strategy: what to run.

    Returns:
        The YAML text. srkd.recipe.RunOptions describes the other arguments.

    Raises:
        UsageError: the recipe cannot be carried out as it stands.
    """
    recipe = make_recipe(data, strategy, model, options)
    from srkd.training.requirements import resolve

    resolve(recipe)
    text = recipe.to_yaml()
    answer(text.rstrip("\n"))
    return text
