"""The architectures: a file for each, and a line in these tables."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from srkd.errors import choose
from srkd.models.base import Discriminator, Generator
from srkd.models.branched import BranchedGenerator
from srkd.models.compact import Compact
from srkd.models.discriminators import PatchDiscriminator, UNetDiscriminator, VGGDiscriminator
from srkd.models.options import check_options
from srkd.models.span import SPAN
from srkd.models.srgan import SRGANGenerator

N = TypeVar("N", Generator, Discriminator)
Table = Mapping[str, tuple[Callable[..., N], dict[str, Any]]]

# name -> (class, options). A name without options is the architecture with its defaults.
GENERATORS: dict[str, tuple[Callable[..., Generator], dict[str, Any]]] = {
    "srgan": (SRGANGenerator, {}),
    "srgan_teacher": (SRGANGenerator, {"channels": 64, "blocks": 16, "tail": "paper"}),
    "srgan_student": (SRGANGenerator, {"channels": 32, "blocks": 8, "tail": "paper"}),
    "srgan_student_lite": (
        SRGANGenerator,
        {"channels": 32, "blocks": 8, "tail": "lr", "skip": "bilinear", "residual_init": 0.1},
    ),
    "srgan_tiny": (
        SRGANGenerator,
        {"channels": 16, "blocks": 4, "tail": "lr", "skip": "bilinear", "residual_init": 0.1},
    ),
    "branched": (BranchedGenerator, {}),
    "srgan_branched": (BranchedGenerator, {"channels": 32, "blocks": 6, "branches": 3, "branch_blocks": 2}),
    "compact": (Compact, {}),
    "compact_s": (Compact, {"channels": 32, "convs": 8}),
    "compact_m": (Compact, {"channels": 64, "convs": 16}),
    "span": (SPAN, {}),
    "span_xs": (SPAN, {"channels": 16}),
    "span_s": (SPAN, {"channels": 32}),
    "span_m": (SPAN, {"channels": 48}),
}
# The names without options.
ARCHITECTURES = tuple(name for name, (_, options) in GENERATORS.items() if not options)
DISCRIMINATORS: dict[str, tuple[Callable[..., Discriminator], dict[str, Any]]] = {
    "vgg": (VGGDiscriminator, {}),
    "unet": (UNetDiscriminator, {}),
    "patch": (PatchDiscriminator, {}),
}


def create_generator(name: str, scale: int = 4, **options: Any) -> Generator:
    """Builds a generator with fresh weights.

    Args:
        name: a key of GENERATORS: an architecture (`srgan`, `compact`) or a named size of one.
        scale: 2, 3 or 4.
        options: the architecture's arguments; they override those of the named size.

    Returns:
        A network that maps LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, scale*H, scale*W)`, not clamped.
        Its `config` attribute rebuilds it: `create_generator(**network.config)`.

    Raises:
        UsageError: an unknown name (the choices are listed), option or value.
    """
    return _create("generator", GENERATORS, name, {"scale": scale, **options})


def create_discriminator(name: str = "vgg", **options: Any) -> Discriminator:
    """Builds a discriminator with fresh weights.

    Returns:
        A network that maps images `(N, 3, H, W)` in [0, 1], of any size, to logits `(N, 1)` or a map of them.
        Its `config` attribute rebuilds it.

    Raises:
        UsageError: an unknown name (the choices are listed), option or value.
    """
    return _create("discriminator", DISCRIMINATORS, name, options)


def _create(kind: str, table: Table[N], name: str, options: dict[str, Any]) -> N:
    build, defaults = table[choose(kind, name, table)]
    options = {**defaults, **options}
    check_options(build, options, f"{kind} '{name}'")
    module = build(**options)
    # Under the architecture's name, not the size's: weights must survive a change of the table.
    architecture = next(key for key, (other, empty) in table.items() if other is build and not empty)
    module.config = {"name": architecture, **options}
    return module
