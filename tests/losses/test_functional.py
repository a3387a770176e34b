"""The formulas that losses and critics are made of."""

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from srkd.losses.functional import ADVERSARIES, bernoulli_kl, feature_l1


def test_feature_l1_counts_layers_alike():
    a = {"small": torch.full((4,), 2e-3), "large": torch.full((4,), 2e3)}
    b = {"small": torch.full((4,), 1e-3), "large": torch.full((4,), 1e3)}
    assert float(feature_l1(a, b)) == pytest.approx(1, rel=1e-4)


def test_bernoulli_kl_is_torchs():
    a, b = torch.randn(2, 5, 1) * 3
    for tau in (1.0, 2.0):
        expected = kl_divergence(Bernoulli(logits=a / tau), Bernoulli(logits=b / tau)).mean()
        torch.testing.assert_close(bernoulli_kl(a, b, tau), expected)


def test_bernoulli_kl_bears_saturation_and_holds_the_peer_fixed():
    peer = torch.tensor([300.0, -300.0], requires_grad=True)
    own = torch.tensor([-300.0, -300.0], requires_grad=True)
    value = bernoulli_kl(peer, own, 1.0)
    value.backward()
    assert value.isfinite() and own.grad.isfinite().all() and own.grad[0] < 0 and peer.grad is None


def test_adversarial_losses_follow_their_formulas():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])

    def softplus(x):
        return torch.log1p(torch.exp(x))

    r, f = real - fake.mean(), fake - real.mean()
    expected = {
        "vanilla": (softplus(-real).mean() + softplus(fake).mean(), softplus(-fake).mean()),
        "least_squares": (((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2, ((fake - 1) ** 2).mean() / 2),
        "hinge": (torch.tensor([0.0, 2.0]).mean() + torch.tensor([1.5, 0.0]).mean(), -fake.mean()),
        "relativistic": (
            (softplus(-r).mean() + softplus(f).mean()) / 2,
            (softplus(-f).mean() + softplus(r).mean()) / 2,
        ),
    }
    assert expected.keys() == ADVERSARIES.keys()
    for name, (critic, generator) in expected.items():
        torch.testing.assert_close(ADVERSARIES[name].critic(real, fake), critic)
        torch.testing.assert_close(ADVERSARIES[name].generator(real, fake), generator)
