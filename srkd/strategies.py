"""What is trained, as data: the stages of every strategy, with their losses and critics.

A strategy is an entry of STRATEGIES. A recipe (a YAML file of a training verb's arguments) may override
any field of any stage. This module imports no torch.

The four transfers are those of Lee & Park 2021 (Journal of Korea Multimedia Society 24(12), 1598), mutual
distillation of discriminators is Lee & Park 2022; the SRGAN schedule is Ledig et al. 2017.
"""

from dataclasses import replace
from typing import Literal

from srkd.config import Critic, Loss, Mutual, Stage, Strategy

# The generator to train where neither the user nor the table names one.
DEFAULT_MODEL = "srgan_student_lite"

# The keys of STRATEGIES, for signatures.
StrategyName = Literal[
    "pretrain", "srgan", "finetune", "extend", "gan2g", "g2g_al", "gan2g_al", "gan2gan", "mutual"
]

# Calibrated against the pixel loss: on bicubic images of BSDS400 the gradient of the perceptual loss with
# respect to the image is some 40 times as long as that of L1, so this weight makes both pull alike.
_CONTENT = Loss(0.025, options={"shift": 16})
# Without them, a few hundred steps of content and adversarial loss leave a lattice on flat ground and rims
# along edges; at a twentieth of the grid's weight they still do (benchmarks/README.md, Fine-tuning).
_SMOOTH = {"grid": Loss(2.5), "blocking": Loss(6.7)}

_PRETRAIN = Stage(steps=20_000, rate=2e-3, optimizer="muon", losses={"l1": Loss()})
_TRANSFER = Stage(losses={"perceptual": _CONTENT, "output": Loss(), **_SMOOTH})
_FINETUNE = Stage(
    rate=1e-4,
    losses={"perceptual": _CONTENT, "l1": Loss(0.25), **_SMOOTH},
    critics={"hr": Critic(init="previous")},
)


def _transfer(**critics: Critic) -> dict[str, Stage]:
    return {"pretrain": _PRETRAIN, "transfer": replace(_TRANSFER, critics=critics), "finetune": _FINETUNE}


STRATEGIES: dict[str, Strategy] = {
    # Teachers, and students without distillation.
    "pretrain": Strategy({"pretrain": _PRETRAIN}, "train"),
    "srgan": Strategy(
        {
            "pretrain": _PRETRAIN,
            "gan": replace(_FINETUNE, critics={"hr": Critic(options={"channels": 64})}),
        },
        "train",
        model="srgan_teacher",
    ),
    "finetune": Strategy({"finetune": _FINETUNE}, "finetune"),
    # A student for a new domain that keeps the old one.
    "extend": Strategy(
        {"extend": Stage(steps=2000, losses={"l1": Loss(), "forgetting": Loss(0.3)})}, "train"
    ),
    # The four transfers.
    "gan2g": Strategy(_transfer(), "distill", teacher="gan"),
    "g2g_al": Strategy(_transfer(), "distill", teacher="psnr"),
    "gan2g_al": Strategy(_transfer(hr=Critic()), "distill", teacher="gan"),
    "gan2gan": Strategy(
        _transfer(hr=Critic(init="teacher"), teacher=Critic(real="teacher")), "distill", teacher="gan"
    ),
    # Several discriminators that learn from one another.
    "mutual": Strategy(
        {"pretrain": _PRETRAIN, "finetune": replace(_FINETUNE, mutual=Mutual())}, "mutual", members=2
    ),
}
