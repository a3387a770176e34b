"""How a student is trained, as data: by the teacher's kind, and by the time there is.

Where each comes from: `psnr` from benchmarks/methods, `gan` for trainings of minutes, `gan2gan`
from benchmarks/strategies/student_gan.yaml, `restoring` from benchmarks/real/pixels.yaml and lpips.yaml.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from srkd.commands.compressing.teacher import Traits


@dataclass(frozen=True)
class Phase:
    """A run of a student's training.

    Args:
        name: of its folder.
        strategy: what it runs.
        share: of the time that training has.
        stages: overrides of the strategy's stages, without their steps; a stage set to None is skipped.
        parts: each stage's share of the phase's time.
        taught: whether the teacher plays a part.
        control: overrides over those of `stages` for a student without a teacher, where leaving the teacher's
            terms out would leave too little; None to leave them out.
    """

    name: str
    strategy: Literal["pretrain", "gan2g", "gan2g_al", "gan2gan"]
    share: float
    stages: Mapping[str, Any] = field(hash=False)
    parts: Mapping[str, float] = field(hash=False)
    taught: bool = True
    control: Mapping[str, Any] | None = field(default=None, hash=False)


_FEATURES = {"options": {"trunk": "st-vgg", "layers": ["relu1_2", "relu2_2", "relu3_3"]}}
_SHIFTED = {"options": {**_FEATURES["options"], "shift": 16}}
_MUON = {"optimizer": "muon", "rate": 2e-3, "weight_decay": 0.3, "batch": 8, "crop": 96}
_SMOOTH = {"grid": {"weight": 5.0}, "blocking": {"weight": 100.0}}
_CRITIC = {"weight": 5e-3, "rate": 4e-4}
_PATCH = {"name": "patch", **_CRITIC, "options": {"channels": 32, "norm": "spectral"}}
_UNET = {"name": "unet", "weight": 5e-3, "rate": 4e-4, "ramp": 0.1, "options": {"channels": 16}}

_L1 = Phase(
    "base",
    "pretrain",
    0.4,
    {"pretrain": {**_MUON, "losses": {"l1": {"weight": 1.0}}}},
    {"pretrain": 1.0},
    False,
)
_TOWARDS = {"pretrain": {**_MUON, "losses": {"l1": {"weight": 1.0}, "output": {"weight": 1.0}}}}
RECIPES: dict[str, tuple[Phase, ...]] = {
    "psnr": (Phase("base", "pretrain", 1.0, _TOWARDS, {"pretrain": 1.0}),),
    "gan": (
        _L1,
        Phase(
            "sharp",
            "gan2g",
            0.6,
            {
                "transfer": {
                    "batch": 4,
                    "losses": {
                        "output": {"weight": 1.0},
                        "perceptual_output": _SHIFTED,
                        "l1": {"weight": 0.2},
                        "perceptual": {"weight": 0.2, **_SHIFTED},
                        **_SMOOTH,
                    },
                },
                "finetune": {
                    "batch": 4,
                    "losses": {"l1": {"weight": 0.5}, "perceptual": {"weight": 0.5, **_SHIFTED}, **_SMOOTH},
                    "critics": {"hr": {"weight": 2e-3, "rate": 2e-4}},
                },
            },
            {"transfer": 0.6, "finetune": 0.4},
        ),
    ),
    "gan2gan": (
        _L1,
        Phase(
            "sharp",
            "gan2gan",
            0.6,
            {
                "transfer": {
                    "batch": 4,
                    "rate": 3e-4,
                    "losses": {"perceptual": {"weight": 1.0, **_FEATURES}, "grid": {"weight": 1.0}},
                    "critics": {"hr": _CRITIC, "teacher": _CRITIC},
                },
                "finetune": {
                    "batch": 4,
                    "rate": 2e-4,
                    "losses": {
                        "l1": {"weight": 0.2},
                        "perceptual": {"weight": 1.0, **_FEATURES},
                        "grid": {"weight": 1.0},
                    },
                    "critics": {"hr": _CRITIC, "patch": _PATCH},
                },
            },
            {"transfer": 0.3, "finetune": 0.7},
        ),
    ),
    "restoring": (
        Phase(
            "base",
            "pretrain",
            0.4,
            {"pretrain": {**_MUON, "losses": {"l1": {"weight": 0.1}, "output": {"weight": 1.0}}}},
            {"pretrain": 1.0},
        ),
        Phase(
            "sharp",
            "gan2g_al",
            0.6,
            {
                "transfer": {
                    "batch": 4,
                    "rate": 3e-4,
                    "losses": {
                        "output": {"weight": 0.3},
                        # Towards the teacher alone it came half as far (benchmarks/real).
                        "lpips": {"weight": 0.5, "options": {"variant": "st-lpips-vgg", "shift": 16}},
                        "lpips_output": {
                            "weight": 0.5,
                            "options": {"variant": "st-lpips-alex", "shift": 16},
                        },
                        "perceptual": None,
                        "perceptual_output": None,
                        "grid": {"weight": 5.0},
                        "blocking": {"weight": 60.0},
                    },
                    "critics": {"hr": {**_UNET, "real": "teacher"}},
                },
                "finetune": None,
            },
            {"transfer": 1.0},
            # The same towards HR: without the teacher's terms nothing would pull at pixels.
            control={
                "transfer": {
                    "losses": {
                        "output": None,
                        "lpips_output": None,
                        "l1": {"weight": 0.3},
                        "lpips": {"weight": 1.0, "options": {"variant": "st-lpips-vgg", "shift": 16}},
                    },
                    "critics": {"hr": {"real": "hr"}},
                },
            },
        ),
    ),
}
# Fewer adversarial steps than these, and the recipe for minutes gives more.
LONG = 1500
# The shortest stage that is worth running.
LEAST_STEPS = 20


def choose_recipe(traits: Traits, discriminator: bool, long: bool) -> str:
    """The recipe for a teacher: a key of RECIPES.

    Args:
        traits: the teacher's.
        discriminator: whether it has one.
        long: whether there is time for LONG adversarial steps.
    """
    if traits.kind == "psnr":
        return "psnr"
    if traits.restoring:
        return "restoring"
    return "gan2gan" if discriminator and long else "gan"
