"""The way from a training verb to its run. Importing this imports no torch."""

from pathlib import Path

from srkd.errors import UsageError
from srkd.files import StrPath
from srkd.recipe import Recipe, RunOptions, make_recipe
from srkd.strategies import DEFAULT_MODEL, STRATEGIES
from srkd.terminal import say
from srkd.training import Run
from srkd.weights.catalogue import list_shipped


def launch(data: StrPath, strategy: str, model: str | None, options: RunOptions) -> Run:
    """Runs what the arguments of a training verb say.

    Returns:
        The run: its folder, the weights and the validation PSNR after each stage.

    Raises:
        UsageError: the recipe cannot be carried out as it stands; nothing was trained.
        SrkdError: training failed; earlier checkpoints are intact.
    """
    recipe = make_recipe(data, strategy, model, options)
    announce(recipe)
    # Importing torch takes seconds, and what is above has been said by then.
    from srkd.training.checkpoints import ChangedRunError, list_checkpoints
    from srkd.training.run import run

    try:
        return run(recipe, options.get("resume", False), options.get("allow_changes", False))
    except ChangedRunError as error:
        raise UsageError(f"{error}, or continue all the same with --allow-changes") from error
    except KeyboardInterrupt:
        if list_checkpoints(Path(recipe.out)):
            say("--resume continues from there")
        raise


def announce(recipe: Recipe) -> None:
    """Says what is about to be trained, and which teacher is taken where none was named."""
    network = recipe.model or (f"the network of {recipe.start}" if recipe.start else None)
    network = network or STRATEGIES[recipe.strategy].model or DEFAULT_MODEL
    what = f"{recipe.strategy}, the control" if recipe.control else recipe.strategy
    say(f"{what}: {network}, x{recipe.scale}, on {recipe.data}; loading ...")
    kind = STRATEGIES[recipe.strategy].teacher
    name = f"srgan_teacher_{kind}"
    shipped = list_shipped()
    if kind and not recipe.teachers and not recipe.control and name in shipped:
        scores = shipped[name].get("scores", {}).get("Set5", {})
        known = f" ({scores['psnr']:.2f} dB on Set5)" if "psnr" in scores else ""
        say(f"no --teacher is given: the teacher is the shipped {name}{known}")
