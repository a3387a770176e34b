"""What a run notices by itself, and says in plain words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from srkd import metrics, resample
from srkd.data import Batch, Pair
from srkd.files import console, replacing

# A critic is taken to have collapsed when its loss stays below this for this many steps: it tells every
# image apart with certainty, and a saturated sigmoid (or a hinge beyond its margin) has no slope.
_CERTAIN, _PATIENCE = 0.02, 500


class Watch:
    """Warns, once a stage, of a critic without a slope and of a generator that falls below bicubic.

    Args:
        stage: its name.
        bicubic: mean validation PSNR of bicubic enlargement, in dB.
    """

    def __init__(self, stage: str, bicubic: float):
        self.stage, self.bicubic = stage, bicubic
        self.certain_since: dict[str, int] = {}
        self.said: set[str] = set()

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the losses of a step."""
        for name, value in values.items():
            if not name.rpartition("/")[2].startswith("critic_"):
                continue
            if value >= _CERTAIN:
                self.certain_since.pop(name, None)
            elif step - self.certain_since.setdefault(name, step) >= _PATIENCE:
                self._say(
                    "critic",
                    f"the loss '{name}' has been below {_CERTAIN} for {_PATIENCE} steps: the discriminator "
                    "tells every image apart and its gradient fades; lower its rate or width, or set r1",
                )

    def validation(self, step: int, psnr: float) -> None:
        """Takes a validation's mean PSNR in dB."""
        if psnr < self.bicubic:
            self._say(
                "validation",
                f"at step {step} validation is {psnr:.2f} dB, below the {self.bicubic:.2f} dB of bicubic "
                "enlargement: so far the generator makes images worse than no network would",
            )

    def _say(self, kind: str, message: str) -> None:
        if kind not in self.said:
            self.said.add(kind)
            console.print(f"[yellow]warning, {self.stage}:[/] {message}")


def bicubic_psnr(pairs: Sequence[Pair], scale: int) -> float:
    """Mean `y-crop` PSNR of bicubic enlargement, in dB."""
    protocol = metrics.protocol_name("y-crop", scale)
    scores = [metrics.psnr(resample.upscale_bicubic(p.lr, scale), p.hr, protocol) for p in pairs]
    return float(np.mean(np.minimum(scores, 100.0)))


def save_batch(path: Path, batch: Batch) -> None:
    """Writes a batch that could not be trained on, `lr` and `hr` as uint8, for inspection."""
    with replacing(path) as temporary:
        temporary.write_bytes(save({"lr": batch.lr, "hr": batch.hr}))
