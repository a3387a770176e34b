"""The generators' optimisers by name."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# Its functions of lists of tensors, which type checkers do not know.
_lists: Any = torch


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
            # What is alike is worked on at once: a GPU takes longer to be told than to compute.
            alike: dict[Any, list[Any]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    kind = parameter.shape if parameter.ndim > 1 else "vectors"
                    alike.setdefault(kind, []).append(parameter)
            for kind, parameters in alike.items():
                compute = _vector_changes if kind == "vectors" else _matrix_changes
                gradients = [parameter.grad for parameter in parameters]
                changes = compute(gradients, [self.state[parameter] for parameter in parameters], group)
                if kind != "vectors":
                    _lists._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                _lists._foreach_sub_(parameters, changes, alpha=group["lr"])
        return loss


def _matrix_changes(
    gradients: list[Tensor], states: list[dict[str, Any]], group: dict[str, Any]
) -> list[Tensor]:
    """Of kernels of one shape."""
    for gradient, state in zip(gradients, states, strict=True):
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
    momenta = [state["momentum"] for state in states]
    _lists._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
    matrices = [each.flatten(1) for each in _lists._foreach_lerp(gradients, momenta, group["momentum"])]
    on_gpu = matrices[0].is_cuda
    found = orthogonalize(torch.stack(matrices)) if on_gpu else map(orthogonalize, matrices)
    scale = 0.2 * max(matrices[0].shape) ** 0.5
    return [each.mul(scale).reshape(gradients[0].shape) for each in found]


def _vector_changes(
    gradients: list[Tensor], states: list[dict[str, Any]], group: dict[str, Any]
) -> list[Tensor]:
    for gradient, state in zip(gradients, states, strict=True):
        if not state:
            state.update(step=0, mean=torch.zeros_like(gradient), square=torch.zeros_like(gradient))
        state["step"] += 1
    first, second = group["betas"]
    means, squares = ([state[name] for state in states] for name in ("mean", "square"))
    _lists._foreach_lerp_(means, gradients, 1 - first)
    _lists._foreach_lerp_(squares, _lists._foreach_mul(gradients, gradients), 1 - second)
    steps = [state["step"] for state in states]
    roots = _lists._foreach_sqrt(_lists._foreach_div(squares, [1 - second**step for step in steps]))
    _lists._foreach_add_(roots, 1e-8)
    return _lists._foreach_div(_lists._foreach_div(means, [1 - first**step for step in steps]), roots)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Brings a matrix's singular values near 1: five quintic Newton-Schulz iterations leave them in about
    (0.7, 1.2), which serves a step as well as 1 (Jordan et al. 2024).

    Args:
        matrix: `(m, n)`, or several `(k, m, n)`.

    Returns:
        As many. Singular values below a five-hundredth of a matrix's norm stay smaller, zeros zero.
    """
    if matrix.shape[-2] > matrix.shape[-1]:
        return orthogonalize(matrix.mT).mT
    single = matrix.ndim == 2
    norm = matrix.norm() if single else matrix.flatten(1).norm(dim=1)[:, None, None]
    multiply = torch.addmm if single else torch.baddbmm
    x = matrix / norm.clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = multiply(x, multiply(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
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
