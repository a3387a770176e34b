"""srkd makes super-resolution GANs small by knowledge distillation.

The verbs of the command line are functions here, with the same names and arguments:

    import srkd
    run = srkd.distill("photos/", teacher="teacher.safetensors", strategy="g2g_al")
    srkd.evaluate(run.weights["finetune"], "benchmark/Set5")
    srkd.upscale("photo.jpg", "photo_x4.png", weights=run.weights["finetune"])

Importing srkd does not import torch; the first verb that needs it does.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where each public name lives; imported at first use, so that `import srkd` stays light.
_HOMES = {
    "train": "srkd.training",
    "distill": "srkd.training",
    "finetune": "srkd.training",
    "mutual": "srkd.training",
    "compare": "srkd.comparison",
    "extend": "srkd.continual",
    "prepare": "srkd.data.prepare",
    "list_runs": "srkd.training.logs",
    "evaluate": "srkd.evaluation",
    "upscale": "srkd.upscaling",
    "export": "srkd.exports",
    "interpolate": "srkd.interpolation",
    "card": "srkd.cards",
    "list_models": "srkd.catalog",
    "quickstart": "srkd.tour",
    "load_recipe": "srkd.strategies",
    "load_generator": "srkd.weights",
    "save_generator": "srkd.weights",
    "create_generator": "srkd.models",
    "create_discriminator": "srkd.models",
    "SrkdError": "srkd.errors",
    "UsageError": "srkd.errors",
}
__all__ = ["__version__", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from srkd.cards import card as card
    from srkd.catalog import list_models as list_models
    from srkd.comparison import compare as compare
    from srkd.continual import extend as extend
    from srkd.data.prepare import prepare as prepare
    from srkd.errors import SrkdError as SrkdError
    from srkd.errors import UsageError as UsageError
    from srkd.evaluation import evaluate as evaluate
    from srkd.exports import export as export
    from srkd.interpolation import interpolate as interpolate
    from srkd.models import create_discriminator as create_discriminator
    from srkd.models import create_generator as create_generator
    from srkd.strategies import load_recipe as load_recipe
    from srkd.tour import quickstart as quickstart
    from srkd.training import distill as distill
    from srkd.training import finetune as finetune
    from srkd.training import mutual as mutual
    from srkd.training import train as train
    from srkd.training.logs import list_runs as list_runs
    from srkd.upscaling import upscale as upscale
    from srkd.weights import load_generator as load_generator
    from srkd.weights import save_generator as save_generator


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'srkd' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
