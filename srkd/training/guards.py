"""What a run notices by itself, and says in plain words."""

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from safetensors.numpy import save

from srkd import metrics
from srkd.data import Batch, Pair
from srkd.files import replacing
from srkd.images import resample
from srkd.terminal import console

# A critic is taken to have collapsed when its loss stays below this for this many steps: it tells every
# image apart with certainty, and a saturated sigmoid (or a hinge beyond its margin) has no slope.
_CERTAIN, _PATIENCE = 0.02, 500

# Training is taken to diverge when the error of pixels is this many times its median over so many logged
# steps. Batches differ by a factor of three.
_PIXELS, _RISEN, _LOOK_BACK = ("l1", "mse", "charbonnier", "output"), 10, 20

# Networks that were not trained to excess answer black and white noise with values of up to 4.
_LOUD = 10.0


class Watch:
    """Warns, once a stage, of a critic without a slope, a generator that diverges, one below bicubic, and one
    that amplifies what training has not shown it.

    Args:
        stage: its name.
        bicubic: mean validation PSNR of bicubic enlargement, in dB.
    """

    def __init__(self, stage: str, bicubic: float):
        self.stage, self.bicubic = stage, bicubic
        self.certain_since: dict[str, int] = {}
        self.errors: dict[str, deque[float]] = {}
        self.said: set[str] = set()

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the losses of a step."""
        for name, value in values.items():
            kind = name.rpartition("/")[2]
            if kind in _PIXELS:
                self._error(step, name, value)
            if not kind.startswith("critic_"):
                continue
            if value >= _CERTAIN:
                self.certain_since.pop(name, None)
            elif step - self.certain_since.setdefault(name, step) >= _PATIENCE:
                self._say(
                    "critic",
                    f"the loss '{name}' has been below {_CERTAIN} for {_PATIENCE} steps: the discriminator "
                    "tells every image apart and its gradient fades; lower its rate or width, or set r1",
                )

    def _error(self, step: int, name: str, value: float) -> None:
        former = self.errors.setdefault(name, deque(maxlen=_LOOK_BACK))
        if len(former) == _LOOK_BACK and value > _RISEN * (usual := median(former)):
            self._say(
                "error",
                f"the loss '{name}' is {value:.3g} at step {step}, {value / usual:.0f} times what it was: "
                "training diverges; stop it, and start at a lower rate from <stage>_best.safetensors",
            )
        former.append(value)

    def validation(self, step: int, psnr: float) -> None:
        """Takes a validation's mean PSNR in dB."""
        if psnr < self.bicubic:
            self._say(
                "validation",
                f"at step {step} validation is {psnr:.2f} dB, below the {self.bicubic:.2f} dB of bicubic "
                "enlargement: so far the generator makes images worse than no network would",
            )

    def noise(self, step: int, largest: float) -> None:
        """Takes the largest absolute value that a generator makes of noise in [0, 1]."""
        if not largest <= _LOUD:
            self._say(
                "noise",
                f"at step {step} an image of noise comes out with values of up to {largest:.3g}, where white "
                "is 1: the generator will ruin dithered or noisy pictures, which training has not shown it; "
                "raise weight_decay (with optimizer: muon), or lower the rate",
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
