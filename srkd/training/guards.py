"""What a run notices by itself, and says in plain words."""

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from safetensors.numpy import save

from srkd.data import Batch
from srkd.files import replacing
from srkd.terminal import note
from srkd.training.terms import Term

# A discriminator is taken to be saturated when its loss stays below this for this many steps: a saturated
# sigmoid (or a hinge beyond its margin) has no slope.
_CERTAIN, _PATIENCE = 0.02, 500

# Training is taken to diverge when the error of pixels is this many times its median over so many logged
# steps. Batches differ by a factor of three.
_PIXELS, _RISEN, _WINDOW = ("l1", "mse", "charbonnier", "output"), 10, 20

# Networks that were not trained to excess answer black and white noise with values of up to 4.
_LOUD = 10.0


class Watch:
    """Warns, once a stage, of a saturated discriminator, and of a generator that diverges, scores below
    bicubic, or amplifies noise.

    Args:
        stage: its name.
        bicubic: mean validation PSNR of bicubic enlargement, in dB.
    """

    def __init__(self, stage: str, bicubic: float):
        self.stage, self.bicubic = stage, bicubic
        self.certain_since: dict[str, int] = {}
        self.errors: dict[str, deque[float]] = {}
        self.said: set[str] = set()

    def losses(self, step: int, terms: Iterable[Term]) -> None:
        """Takes the terms of a step."""
        for term in terms:
            if term.kind in _PIXELS:
                self._error(step, term)
            elif term.kind == "critic":
                self._critic(step, term)

    def _critic(self, step: int, term: Term) -> None:
        if float(term.value) >= _CERTAIN:
            self.certain_since.pop(term.name, None)
        elif step - self.certain_since.setdefault(term.name, step) >= _PATIENCE:
            self._warn(
                "critic",
                f"the loss '{term.name}' has been below {_CERTAIN} for {_PATIENCE} steps: the discriminator "
                "is saturated and its gradient fades; lower its rate or width, or set r1",
            )

    def _error(self, step: int, term: Term) -> None:
        value = float(term.value)
        former = self.errors.setdefault(term.name, deque(maxlen=_WINDOW))
        if len(former) == _WINDOW and value > _RISEN * (usual := median(former)):
            self._warn(
                "error",
                f"the loss '{term.name}' is {value:.3g} at step {step}, {value / usual:.0f} times what it "
                "was: training diverges; stop it, and start at a lower rate from <stage>_best.safetensors",
            )
        former.append(value)

    def validation(self, step: int, psnr: float) -> None:
        """Takes a validation's mean PSNR in dB."""
        if psnr < self.bicubic:
            self._warn(
                "validation",
                f"at step {step} validation is {psnr:.2f} dB, below the {self.bicubic:.2f} dB of bicubic "
                "enlargement: so far the generator makes images worse than no network would",
            )

    def noise(self, step: int, largest: float) -> None:
        """Takes the largest absolute value in a generator's output for noise in [0, 1]."""
        if not largest <= _LOUD:
            self._warn(
                "noise",
                f"at step {step} an image of noise comes out with values of up to {largest:.3g}, where white "
                "is 1: the generator will ruin dithered or noisy pictures, which training does not contain; "
                "raise weight_decay (with optimizer: muon), or lower the rate",
            )

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self.said:
            self.said.add(kind)
            note(message, f"warning, {self.stage}")


def save_batch(path: Path, batch: Batch) -> None:
    """Writes a batch that could not be trained on, `lr` and `hr` as uint8, for inspection."""
    with replacing(path) as temporary:
        temporary.write_bytes(save({"lr": batch.lr, "hr": batch.hr}))
