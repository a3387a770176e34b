"""Teachers: anything that maps LR to SR, frozen."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from srkd.errors import UsageError
from srkd.files import name_by_hash
from srkd.models.base import Discriminator, Generator
from srkd.models.copies import use_batch_statistics
from srkd.terminal import note
from srkd.weights.catalogue import find_weights, list_shipped
from srkd.weights.store import load_discriminator, load_generator


class Teacher(nn.Module):
    """A frozen generator, and its discriminator where there is one.

    Frozen means: no gradient to its weights, eval mode that `train()` does not undo, and outputs that are
    ordinary tensors without history. Batch norms of the discriminator, and they alone, go by each batch's own
    statistics, so photographs and generated images pass through it apart; no pass changes its buffers.

    Shape:
        LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, scale*H, scale*W)`, not clamped.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator | None = None, name: str = ""):
        super().__init__()
        self.generator, self.discriminator, self.name = generator, discriminator, name
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Teacher":
        super().train(False)
        if self.discriminator is not None:
            use_batch_statistics(self.discriminator)
        return self

    def forward(self, lr: Tensor) -> Tensor:
        with torch.no_grad():
            return self.generator(lr)


def find_teachers(weights: Sequence[str], kind: str) -> list[Path]:
    """The files of a strategy's teachers; the shipped `srgan_teacher_<kind>` when none is named.

    Raises:
        UsageError: no such teacher, or the same one twice.
    """
    if not weights:
        weights = [f"srgan_teacher_{kind}"]
        if weights[0] not in list_shipped():
            raise UsageError(
                f"this strategy imitates a {kind.upper()}-trained teacher; give --teacher FILE "
                "(srkd train makes one, or any file that spandrel loads)"
            )
    paths = [find_weights(name) for name in weights]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("a teacher is given twice")
    return paths


def load_teachers(
    paths: Sequence[Path], discriminator: str | None, kind: str | None, scale: int, needs_discriminator: bool
) -> list[Teacher]:
    """Loads the teachers of a strategy.

    Args:
        paths: as from `find_teachers`.
        discriminator: the first teacher's, a file; when not given, the one named
            `<stem>_discriminator.safetensors` beside the generator's, as training writes it.
        kind: how the strategy's teacher should have been trained, `psnr`, `gan` or either.
        scale: the student's.
        needs_discriminator: whether to fail when there is none.

    Raises:
        UsageError: another scale, or no discriminator where one is needed.
    """
    teachers = []
    for number, path in enumerate(paths):
        generator = load_generator(path)
        if generator.scale != scale:
            raise UsageError(
                f"the teacher {path.name} is x{generator.scale}, the student x{scale}; they must agree"
            )
        objective = generator.info.get("objective", kind)
        if kind is not None and objective != kind:
            note(
                f"this strategy imitates a {kind.upper()}-trained teacher, and {path.name} says it is "
                f"{str(objective).upper()}-trained"
            )
        critic = None
        if number == 0:
            critic = _find_discriminator(path, discriminator, needs_discriminator)
        loaded = load_discriminator(critic) if critic is not None else None
        teachers.append(Teacher(generator, loaded, name_by_hash(path)))
    return teachers


def _find_discriminator(path: Path, given: str | None, needed: bool) -> Path | None:
    if given:
        return Path(given)
    beside = path.with_name(f"{path.stem}_discriminator.safetensors")
    if beside.is_file():
        return beside
    if needed:
        raise UsageError(
            f"this strategy needs the teacher's discriminator, and there is no {beside}; "
            f"fit one with `srkd critic DATA {path}`, or give --teacher-discriminator FILE"
        )
    return None
