"""A generator with several branches on one trunk: an ensemble that costs little more than one network."""

import copy
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import choose
from srkd.models.base import Generator
from srkd.models.srgan import ResidualBlock


class BranchedGenerator(Generator):
    """SRResNet's trunk at LR size, then parallel branches of residual blocks with a pixel-shuffle each; SR is
    the mean of their images.

    Args:
        channels: width.
        blocks: residual blocks of the shared trunk.
        branches: how many branches.
        branch_blocks: residual blocks of each branch.
        scale: 2, 3 or 4.
        residual_init: factor on the initial weights of each block's last convolution.

    Shape:
        LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, scale*H, scale*W)`, not clamped.
    """

    tail_name = "branches"

    def __init__(
        self,
        channels: int = 32,
        blocks: int = 6,
        branches: int = 3,
        branch_blocks: int = 2,
        scale: int = 4,
        residual_init: float = 0.1,
    ):
        choose("scale", scale, (2, 3, 4))
        super().__init__(
            scale,
            # 9x9, two 3x3 a block, the last of a branch; and a pixel more for the enlarged input.
            radius=4 + 2 * (blocks + branch_blocks) + 1 + 1,
            taps=[f"body.{k}" for k in range(blocks)],
        )
        self.head = nn.Sequential(nn.Conv2d(3, channels, 9, padding=4), nn.PReLU(channels))
        self.body = nn.Sequential(*(ResidualBlock(channels, "none", residual_init) for _ in range(blocks)))
        self.branches = nn.ModuleList(
            Branch(channels, branch_blocks, scale, residual_init) for _ in range(branches)
        )

    def forward(self, x: Tensor) -> Tensor:
        first = self.head(x)
        features = first + self.body(first)
        base = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        images = [branch(features, base) for branch in self.branches]
        # A chain of sums, which every runtime supports, not a mean over a stack.
        return images[0] if len(images) == 1 else reduce(torch.add, images) / len(images)

    def select_branch(self, index: int) -> "BranchedGenerator":
        """A copy with one branch alone, counted from 0.

        Raises:
            UsageError: there is no such branch.
        """
        choose("branch", index, range(len(self.branches)))
        single = copy.deepcopy(self)
        single.branches = nn.ModuleList([single.branches[index]])
        single.config = self.config and {**self.config, "branches": 1}
        return single


class Branch(nn.Module):
    """Residual blocks and a pixel-shuffle on the trunk's features, added to the upscaled input."""

    def __init__(self, channels: int, blocks: int, scale: int, residual_init: float):
        super().__init__()
        self.layers = nn.Sequential(
            *(ResidualBlock(channels, "none", residual_init) for _ in range(blocks)),
            nn.Conv2d(channels, 3 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )

    def forward(self, features: Tensor, base: Tensor) -> Tensor:
        return self.layers(features) + base
