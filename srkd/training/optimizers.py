"""The generators' optimisers by name."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are orthogonalised, for convolutions; Adam for what has one dimension.

    A kernel `(out, in, k, k)` is the matrix `(out, in*k*k)`. Its Nesterov momentum G = U S V' is replaced by
    an approximate U V' (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) and scaled by
    0.2 sqrt(max(out, in*k*k)), so that a step is about as long as Adam's at the same rate (Liu et al. 2025,
    arXiv 2502.16982, eq. 4). torch.optim.Muon takes matrices alone and rounds them to bfloat16, for which
    most CPUs have no arithmetic.

    Args:
        groups: parameters, or parameter groups as torch has them.
        lr: learning rate.
        betas: Adam's decays.
        momentum: decay of the momentum.
        weight_decay: a step multiplies matrices by 1 - lr * weight_decay besides. Steps are as long however
            small the gradient is, so without it matrices grow, and what a deep network makes of an image
            unlike its training's with them.
    """

    def __init__(
        self,
        groups: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step from the parameters' gradients; those without one stay."""
        loss = torch.enable_grad()(closure)() if closure else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    change = _matrix_change if parameter.ndim > 1 else _vector_change
                    update = change(parameter.grad, self.state[parameter], group)
                    if parameter.ndim > 1:
                        parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(update, alpha=group["lr"])
        return loss


def _matrix_change(gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    if not state:
        state["momentum"] = torch.zeros_like(gradient)
    momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
    matrix = gradient.lerp(momentum, group["momentum"]).flatten(1)
    return orthogonalize(matrix).mul(0.2 * max(matrix.shape) ** 0.5).reshape(gradient.shape)


def _vector_change(gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    if not state:
        state.update(step=0, mean=torch.zeros_like(gradient), square=torch.zeros_like(gradient))
    state["step"] += 1
    first, second = group["betas"]
    mean = state["mean"].lerp_(gradient, 1 - first) / (1 - first ** state["step"])
    square = state["square"].lerp_(gradient.square(), 1 - second) / (1 - second ** state["step"])
    return mean / (square.sqrt() + 1e-8)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Brings a matrix's singular values near 1: five quintic Newton-Schulz iterations leave them in about
    (0.7, 1.2), which serves a step as well as 1 (Jordan et al. 2024).

    Args:
        matrix: `(m, n)`.

    Returns:
        `(m, n)`. Singular values below a five-hundredth of the matrix's norm stay smaller, zeros zero.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalize(matrix.T).T
    x = matrix / matrix.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x


def create_optimizer(
    name: str, groups: list[dict[str, Any]], device: torch.device, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """An optimiser of `adam` or `muon` over parameter groups that bring their rates; the weight decay is
    Muon's."""
    if name == "muon":
        return Muon(groups, weight_decay=weight_decay)
    # The fused step is the fastest on the CPU; on a GPU it would take the loss scaler's work upon itself,
    # which then cannot clip gradients.
    return torch.optim.Adam(groups, lr=1e-3, betas=(0.9, 0.99), fused=device.type == "cpu")
