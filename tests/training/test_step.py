"""What reaches whom, a step at a time."""

from dataclasses import replace

import pytest
import torch
from conftest import critic, make_batch, make_state, make_teacher, plain_critics, values

from srkd import create_discriminator
from srkd.config import Loss, Mutual, Stage
from srkd.losses import LOSSES
from srkd.training.state import copy_matching
from srkd.training.step import NotFinite, detached, forward_all, train_step
from srkd.training.terms import critic_terms, generator_terms


def after(stage, teacher=None, networks=1, steps=3):
    """Weights of every player after a few steps."""
    state = make_state(stage, networks, teacher)
    for step in range(steps):
        train_step(state, [(*make_batch(), ())], step)
    players = [member.network for member in state.members] + [critic.network for critic in state.critics]
    return [torch.cat([p.detach().flatten() for p in player.parameters()]) for player in players]


EVERYTHING = Stage(
    steps=10,
    losses={name: Loss() for name in LOSSES},
    critics={"hr": critic(weight=0.1, init="teacher"), "teacher": critic(weight=0.1, real="teacher")},
)


@pytest.fixture(scope="module")
def with_everything():
    """The generator after two steps with everything; the same each time."""
    found, again = (after(EVERYTHING, make_teacher(), steps=2)[0] for _ in range(2))
    assert torch.equal(found, again)
    return found


@pytest.mark.parametrize("name", LOSSES)
def test_switching_a_loss_off_changes_the_generator(name, with_everything):
    without = replace(EVERYTHING, losses={k: v for k, v in EVERYTHING.losses.items() if k != name})
    assert not torch.equal(with_everything, after(without, make_teacher(), steps=2)[0])


@pytest.mark.parametrize("name", ["hr", "teacher"])
def test_switching_a_critic_off_changes_the_generator(name, with_everything):
    without = replace(EVERYTHING, critics={k: v for k, v in EVERYTHING.critics.items() if k != name})
    assert not torch.equal(with_everything, after(without, make_teacher(), steps=2)[0])


def test_critics_learn_and_their_images_matter():
    teacher = make_teacher()
    state = make_state(EVERYTHING, teacher=teacher)
    before = [c.network.features[0][0].weight.detach().clone() for c in state.critics]
    train_step(state, [(*make_batch(), ())], 0)
    assert all(
        not torch.equal(c.network.features[0][0].weight, w)
        for c, w in zip(state.critics, before, strict=True)
    )
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    hr_only = replace(EVERYTHING, critics={**EVERYTHING.critics, "teacher": critic(weight=0.1)})
    assert not torch.equal(after(EVERYTHING, teacher)[2], after(hr_only, teacher)[2])


def test_the_teachers_discriminator_reaches_the_student():
    stage = Stage(steps=10, losses={"l1": Loss()}, critics={"hr": critic(weight=0.1, init="teacher")})
    same_width = make_state(stage, teacher=make_teacher(4))
    wanted = make_teacher(4).discriminator.state_dict()
    assert all(torch.equal(v, wanted[k]) for k, v in same_width.critics[0].network.state_dict().items())
    assert same_width.critics[0].imitated is None
    # A wider one cannot be copied whole: the critic imitates its logits instead, and that changes it.
    wider = make_teacher(6)
    assert make_state(stage, teacher=wider).critics[0].imitated is wider.discriminator
    without = replace(stage, critics={"hr": replace(stage.critics["hr"], imitate=0.0)})
    a, b = after(stage, wider), after(without, wider)
    assert not torch.equal(a[1], b[1]) and not torch.equal(a[0], b[0])


def test_imitation_brings_the_logits_together():
    stage = Stage(
        steps=100, rate=1e-2, critics={"hr": critic(init="teacher", imitate=100.0)}, losses={"l1": Loss()}
    )
    state = make_state(stage, teacher=make_teacher(6))
    found = [values(train_step(state, [(*make_batch(), ())], step))["imitation_hr"] for step in range(60)]
    assert found[-1] < 0.5 * found[0]


def test_copy_matching_copies_what_fits():
    a, b = create_discriminator("vgg", channels=4), create_discriminator("vgg", channels=4)
    assert copy_matching(a, b) and torch.equal(a.features[3][0].weight, b.features[3][0].weight)
    assert not copy_matching(a, create_discriminator("vgg", channels=8))


MUTUAL = Stage(steps=10, losses={"l1": Loss()}, critics={"hr": critic(weight=0.1)}, mutual=Mutual(ramp=0.0))


def test_mutual_distillation_changes_critics_through_their_own_logits_only():
    without = replace(MUTUAL, mutual=None)
    a, b = after(MUTUAL, networks=2, steps=1), after(without, networks=2, steps=1)
    # Every critic's own term moves it. By the first step the generators cannot have met what it became.
    assert not torch.equal(a[2], b[2]) and not torch.equal(a[3], b[3])
    state = make_state(MUTUAL, networks=2)
    views = [detached(view) for view in forward_all(state, *make_batch())]
    terms = values(critic_terms(state, views, 0))
    for own, peer in ((0, 1), (1, 0)):
        mine = torch.autograd.grad(
            terms[f"{own}/mutual"], state.critics[own].network.parameters(), retain_graph=True
        )
        assert any(g.any() for g in mine)
        theirs = state.critics[peer].network.parameters()
        grads = torch.autograd.grad(terms[f"{own}/mutual"], theirs, retain_graph=True, allow_unused=True)
        assert all(g is None for g in grads)
        generators = [p for member in state.members for p in member.network.parameters()]
        grads = torch.autograd.grad(terms[f"{own}/mutual"], generators, retain_graph=True, allow_unused=True)
        assert all(g is None for g in grads)


def test_mutual_term_is_the_mean_kl_over_the_cohorts_pool():
    """Recomputed from logits on HR and every member's SR."""
    state = make_state(MUTUAL, networks=3)
    views = [detached(view) for view in forward_all(state, *make_batch())]
    terms = values(critic_terms(state, views, 0))
    images = [views[0].hr, *(view.sr for view in views)]
    z = [[critic.network(image).double().detach() / 2 for image in images] for critic in state.critics]
    for own in range(3):
        divergences = []
        for peer in {0, 1, 2} - {own}:
            for q, p in zip(z[peer], z[own], strict=True):
                q, p = q.sigmoid(), p.sigmoid()
                divergences.append((q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).mean())
        expected = 4 * torch.stack(divergences).mean()
        assert float(terms[f"{own}/mutual"].detach()) == pytest.approx(float(expected), rel=1e-3, abs=1e-7)


def test_one_generator_answers_to_the_mean_of_its_critics():
    stage = Stage(steps=10, critics={"hr": replace(critic(weight=0.1), copies=3)}, losses={"l1": Loss()})
    state = make_state(stage)
    (view,) = forward_all(state, *make_batch())
    value = values(generator_terms(state, [view], 0))["adversarial_hr"]
    each = [torch.nn.functional.softplus(-c.network(view.sr)).mean() for c in state.critics]
    torch.testing.assert_close(value, torch.stack(each).mean())


def test_r1_is_the_squared_gradient_at_real_images():
    """Recomputed by finite differences of the critic's logit, pixel by pixel."""
    spec = critic(weight=0.1, r1=10.0, r1_every=4)
    stage = plain_critics(Stage(steps=8, losses={"l1": Loss()}, critics={"hr": spec}))
    state = make_state(stage)
    lr, hr = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 16, 16)
    views = [detached(view) for view in forward_all(state, lr, hr)]
    value = float(values(critic_terms(state, views, 0))["r1_hr"].detach())
    assert "r1_hr" not in values(critic_terms(state, views, 1))
    network = state.critics[0].network.double()
    squares = []
    with torch.no_grad():
        for image in hr.double():
            moved = image + 1e-6 * torch.eye(image.numel(), dtype=torch.double).view(-1, *image.shape)
            squares.append(((network(moved) - network(image[None])) / 1e-6).square().sum())
    assert value == pytest.approx(float(torch.stack(squares).mean()) / 2, rel=1e-3)


@pytest.mark.parametrize("where", ["loss", "gradient", "critic"])
def test_no_weight_changes_in_a_step_that_is_not_finite(where):
    stage = Stage(steps=5, losses={"l1": Loss()}, critics={"hr": critic(weight=0.1)})
    state = make_state(stage)
    lr, hr = make_batch()
    if where == "loss":
        hr = hr.clone()
        hr[0, 0, 0, 0] = torch.inf
    elif where == "gradient":
        state.members[0].network.fuse[0].weight.register_hook(lambda g: g * torch.nan)
    else:
        state.critics[0].network.features[0][0].weight.register_hook(lambda g: g * torch.inf)
    network = state.critics[0].network if where == "critic" else state.members[0].network
    before = [p.detach().clone() for p in network.parameters()]
    with pytest.raises(
        NotFinite, match={"loss": "loss '", "gradient": "generators", "critic": "critics"}[where]
    ):
        train_step(state, [(lr, hr, ())], 0)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
