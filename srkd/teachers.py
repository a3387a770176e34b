"""Teachers: anything that maps LR to SR, frozen."""

from pathlib import Path

import torch
from torch import Tensor, nn

from srkd.catalog import find_weights, list_shipped
from srkd.errors import UsageError
from srkd.files import console
from srkd.weights import file_hash, load_discriminator, load_generator


class Teacher(nn.Module):
    """A frozen generator, and its discriminator where there is one.

    Frozen means: no gradient to its weights, eval mode that `train()` does not undo, and outputs that are
    ordinary tensors without history.

    Shape:
        LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, scale*H, scale*W)`, not clamped.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module | None = None, name: str = ""):
        super().__init__()
        self.generator, self.discriminator, self.name = generator, discriminator, name
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Teacher":
        return super().train(False)

    def forward(self, lr: Tensor) -> Tensor:
        with torch.no_grad():
            return self.generator(lr)


def load_teacher(
    weights: str | None, discriminator: str | None, kind: str, scale: int, needs_discriminator: bool
) -> Teacher:
    """Loads the teacher of a strategy.

    Args:
        weights: a file or a shipped name; the shipped `srgan_teacher_<kind>` when not given.
        discriminator: a file; when not given, the one named `<stem>_discriminator.safetensors` beside the
            generator's, as training writes it.
        kind: how the strategy's teacher was trained, `psnr` or `gan`.
        scale: the student's.
        needs_discriminator: whether to fail when there is none.

    Raises:
        UsageError: no such teacher, another scale, or no discriminator where one is needed.
    """
    if weights is None:
        weights = f"srgan_teacher_{kind}"
        if weights not in list_shipped():
            raise UsageError(
                f"this strategy imitates a {kind.upper()}-trained teacher; give --teacher FILE "
                "(srkd train makes one, or any file that spandrel loads)"
            )
    path = find_weights(weights)
    generator = load_generator(path)
    if generator.scale != scale:
        raise UsageError(
            f"the teacher {path.name} is x{generator.scale}, the student x{scale}; they must agree"
        )
    objective = generator.info.get("objective", kind)  # type: ignore[union-attr]
    if objective != kind:
        console.print(
            f"[yellow]note:[/] this strategy imitates a {kind.upper()}-trained teacher, and {path.name} says "
            f"it is {str(objective).upper()}-trained"
        )
    critic = (
        Path(discriminator) if discriminator else path.with_name(f"{path.stem}_discriminator.safetensors")
    )
    if not discriminator and not critic.is_file():
        if needs_discriminator:
            raise UsageError(
                f"this strategy needs the teacher's discriminator, and there is no {critic}; "
                "give --teacher_discriminator FILE"
            )
        return Teacher(generator, name=f"{path.stem}@{file_hash(path)}")
    return Teacher(generator, load_discriminator(critic), name=f"{path.stem}@{file_hash(path)}")
