"""Muon against numpy's SVD, torch's own Muon and Adam."""

import copy

import numpy as np
import pytest
import torch
from conftest import pretrain
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from safetensors.torch import load_file
from torch import nn

from srkd.config import Loss, Stage
from srkd.errors import UsageError
from srkd.training.optimizers import Muon, create_optimizer, orthogonalize
from srkd.training.requirements import check_stage

WIDE, TALL, SQUARE = (16, 90), (90, 16), (24, 24)


def conditioned(shape, seed=0):
    """A matrix whose singular values lie between 0.1 and 10, and its polar factor U V'."""
    rng = np.random.default_rng(seed)
    u, _, v = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    values = np.geomspace(0.1, 10, min(shape))
    return torch.tensor((u * values) @ v, dtype=torch.float32), (u, v)


def trained(parameters, gradients, make):
    """Copies of the parameters after a step of an optimiser on each set of gradients."""
    copies = [nn.Parameter(p.detach().clone()) for p in parameters]
    optimizer = make(copies)
    for step in gradients:
        for parameter, gradient in zip(copies, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
    return [p.detach() for p in copies]


def random_steps(parameters, steps, seed=1):
    torch.manual_seed(seed)
    return [[torch.randn_like(p) for p in parameters] for _ in range(steps)]


@pytest.mark.parametrize("shape", [WIDE, TALL, SQUARE, (1, 27), (27, 1), (1, 1)])
def test_orthogonalize_keeps_the_singular_vectors_and_makes_the_values_alike(shape):
    matrix, (u, v) = conditioned(shape)
    found = orthogonalize(matrix)
    assert found.shape == shape and found.dtype == torch.float32
    core = u.T @ found.numpy() @ v.T
    values = np.diagonal(core)
    assert values.min() > 0.6 and values.max() < 1.25
    # Nothing of it lies outside the pairs of singular vectors.
    np.testing.assert_allclose((u * values) @ v, found.numpy(), atol=2e-5)


def test_orthogonalize_does_not_depend_on_the_scale():
    matrix, _ = conditioned(WIDE)
    torch.testing.assert_close(orthogonalize(1e-4 * matrix), orthogonalize(1e4 * matrix))


@pytest.mark.parametrize("shape", [WIDE, TALL, SQUARE])
def test_many_matrices_at_once_come_out_as_each_alone(shape):
    many = torch.stack([conditioned(shape, seed)[0] * 10**seed for seed in range(3)] + [torch.zeros(shape)])
    torch.testing.assert_close(orthogonalize(many), torch.stack([orthogonalize(each) for each in many]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_muon_steps_on_cuda_as_on_the_cpu():
    torch.manual_seed(0)
    start = [torch.randn(shape) / 10 for shape in ((8, 4, 3, 3), (8, 4, 3, 3), (4, 8, 1, 1), (8,), (4,))]
    steps = random_steps(start, 3)
    cpu = trained(start, steps, lambda p: Muon(p, lr=1e-2, weight_decay=0.3))
    gpu = trained(
        [p.cuda() for p in start],
        [[gradient.cuda() for gradient in step] for step in steps],
        lambda p: Muon(p, lr=1e-2, weight_decay=0.3),
    )
    for one, other in zip(cpu, gpu, strict=True):
        torch.testing.assert_close(one, other.cpu(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [WIDE, TALL, SQUARE])
@pytest.mark.parametrize("rank", [0, 1, 5])
def test_orthogonalize_of_a_deficient_matrix_stays_in_its_space(shape, rank):
    torch.manual_seed(0)
    matrix = torch.randn(shape[0], rank) @ torch.randn(rank, shape[1])
    found = orthogonalize(matrix)
    values = torch.linalg.svdvals(found)
    assert found.isfinite().all() and values[rank:].max() < 1e-3
    assert ((values[:rank] > 0.6) & (values[:rank] < 1.25)).all()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this release of torch has no Muon")
@pytest.mark.parametrize("decay", [0.0, 10.0])
def test_matrices_step_as_torchs_muon(decay):
    """Which orthogonalises in bfloat16, with three digits."""
    torch.manual_seed(0)
    start = [torch.randn(WIDE) / 100, torch.randn(TALL) / 100, torch.randn(1, 30) / 100]
    steps = random_steps(start, 4)
    found = trained(start, steps, lambda p: Muon(p, lr=1e-2, weight_decay=decay))
    wanted = trained(
        start,
        steps,
        lambda p: torch.optim.Muon(p, lr=1e-2, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
    )
    for a, b, before in zip(found, wanted, start, strict=True):
        assert float((a - b).norm() / (b - before).norm()) < 0.02


def test_vectors_step_as_adam_and_do_not_decay():
    torch.manual_seed(0)
    start = [torch.randn(30), torch.randn(1), torch.randn(())]
    steps = random_steps(start, 6)
    found = trained(start, steps, lambda p: Muon(p, lr=1e-2, weight_decay=10.0))
    wanted = trained(start, steps, lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.9, 0.99)))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(12, 5, 3, 3), (48, 2, 3, 3), (1, 5, 3, 3), (6, 9, 1, 1), (8, 1, 3, 3)])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_steps_as_its_flattened_matrix(shape, format):
    torch.manual_seed(0)
    start = [torch.randn(shape)]
    steps = random_steps(start, 3)
    flat = trained([start[0].flatten(1)], [[g.flatten(1) for g in step] for step in steps], Muon)
    (found,) = trained(
        [start[0].to(memory_format=format)],
        [[g.to(memory_format=format) for g in step] for step in steps],
        Muon,
    )
    assert found.is_contiguous(memory_format=format) and not torch.equal(found, start[0])
    torch.testing.assert_close(found.flatten(1), flat[0], rtol=0, atol=1e-6)


def test_a_step_is_about_as_long_as_adams():
    """The root mean square of a matrix's step is 0.2 of the rate, times singular values of 0.7 to 1.2."""
    for shape in (WIDE, TALL, (8, 8, 3, 3)):
        (found,) = trained([torch.zeros(shape)], random_steps([torch.zeros(shape)], 1), Muon)
        assert 0.6 < float(found.square().mean().sqrt()) / (0.2 * 1e-3) < 1.25


def test_parameters_without_a_gradient_or_with_a_zero_one_stay():
    parameters = [nn.Parameter(torch.ones(shape)) for shape in ((4, 3), (4,), (4, 2, 3, 3), (5,))]
    optimizer = Muon(parameters)
    for parameter in parameters[2:]:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert all(bool((p == 1).all()) for p in parameters)
    assert not any(p in optimizer.state for p in parameters[:2])


def test_a_closure_is_called_with_gradients():
    parameter = nn.Parameter(torch.ones(3))
    optimizer = Muon([parameter])

    def closure():
        loss = parameter.square().sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 3 and bool((parameter < 1).all())


def network():
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.PReLU(), nn.BatchNorm2d(8), nn.Conv2d(8, 1, 1), nn.Flatten()
    )
    return nn.Sequential(*layers, nn.Linear(36, 4)).to(memory_format=torch.channels_last)


def descend(module, optimizer, steps):
    for step in steps:
        torch.manual_seed(step)
        images = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
        module(images).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_a_saved_state_goes_on_bit_for_bit(tmp_path):
    whole = network()
    optimizer = Muon([{"params": [*whole.parameters()], "rate": 3e-3}])
    descend(whole, optimizer, range(3))
    torch.save((whole.state_dict(), optimizer.state_dict()), tmp_path / "state.pt")
    descend(whole, optimizer, range(3, 6))
    resumed = network()
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(weights)
    optimizer = Muon([{"params": [*resumed.parameters()], "rate": 1.0}])
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["rate"] == 3e-3
    descend(resumed, optimizer, range(3, 6))
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_under_fabric_all_stays_in_full_precision_and_scaled_back(precision):
    # A scaler of its own, since Fabric's is for CUDA.
    scaled = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**8))
    own = [scaled] if precision == "16-mixed" else []
    fabric = Fabric(accelerator="cpu", devices=1, plugins=own, precision=None if own else precision)
    module, plain = fabric.setup_module(network()), network()
    optimizer = fabric.setup_optimizers(Muon(module.parameters()))
    reference = Muon(plain.parameters())
    images = torch.randn(2, 3, 8, 8)
    fabric.backward(module(images).square().mean())
    optimizer.step()
    plain(images).square().mean().backward()
    reference.step()
    for a, b in zip(module.parameters(), plain.parameters(), strict=True):
        assert a.dtype == torch.float32
        assert reference.state[b].keys() - {"step"}
        for key, wanted in reference.state[b].items():
            found = optimizer.state[a][key]
            if key != "step":
                assert found.dtype == torch.float32 and found.norm() > 0
                # Half precision loses some of a gradient; the scale would be off by a factor of 256.
                assert float((found - wanted).norm()) < 0.5 * float(wanted.norm())


def test_create_optimizer_gives_what_it_is_asked_for():
    groups = [{"params": [nn.Parameter(torch.ones(2, 2))], "rate": 1e-3}]
    muon = create_optimizer("muon", copy.deepcopy(groups), torch.device("cpu"), 0.1)
    assert isinstance(muon, Muon) and muon.param_groups[0]["weight_decay"] == 0.1
    adam = create_optimizer("adam", copy.deepcopy(groups), torch.device("cpu"))
    assert isinstance(adam, torch.optim.Adam) and adam.defaults["betas"] == (0.9, 0.99)
    with pytest.raises(UsageError, match="goes with optimizer: muon"):
        check_stage(Stage(losses={"l1": Loss()}, weight_decay=0.1))


def test_a_stages_weight_decay_reaches_its_matrices(photos, tmp_path):
    """A rate of 1e-2 and a decay of 50 halve them every step, in all but what the steps themselves add."""
    found = {}
    for decay in (0.0, 50.0):
        stages = {"pretrain": {"rate": 1e-2, "final_rate": 1e-2, "weight_decay": decay}}
        run = pretrain(photos, tmp_path / str(decay), stages=stages)
        weights = load_file(run.weights["pretrain"])
        found[decay] = sum(float(value.norm()) for value in weights.values() if value.ndim > 1)
    assert found[50.0] < 0.5 * found[0.0]
