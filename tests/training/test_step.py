"""What reaches whom, a step at a time."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import critic, make_batch, make_state, make_teacher, plain_critics, values

from srkd import create_discriminator, create_generator
from srkd.config import Loss, Mutual, Stage
from srkd.losses import LOSSES, View, create_loss
from srkd.models.base import Discriminator
from srkd.training.state import build_state, copy_matching
from srkd.training.step import NotFinite, detached, forward_all, train_step
from srkd.training.teachers import Teacher
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


# A step, written by hand.


def by_hand(state, batches, rate, weight):
    """A SRGAN's steps in plain torch, on copies of a state's networks: the critic on HR and detached SR, then
    the generator by L1 and its adversarial loss; returns what both and the average become."""
    generator = copy.deepcopy(state.members[0].network)
    critic = copy.deepcopy(state.critics[0].network)
    options = {"lr": rate, "betas": (0.9, 0.99)}
    of_generator = torch.optim.Adam(generator.parameters(), **options)
    of_critic = torch.optim.Adam(critic.parameters(), **options)
    average = None
    for step, (lr, hr) in enumerate(batches):
        sr = generator(lr)
        of_critic.zero_grad()
        (F.softplus(-critic(hr)).mean() + F.softplus(critic(sr.detach())).mean()).backward()
        of_critic.step()
        of_generator.zero_grad()
        of_critic.zero_grad()
        ((sr - hr).abs().mean() + weight * F.softplus(-critic(sr)).mean()).backward()
        of_generator.step()
        values = [p.detach().clone() for p in generator.parameters()]
        if average is None:
            average = values
        else:
            decay = min(state.stage.ema, (1 + step) / (10 + step))
            average = [decay * a + (1 - decay) * v for a, v in zip(average, values, strict=True)]
    return generator, critic, average


@pytest.mark.parametrize("ema", [0.999, 0.15])
def test_steps_are_those_written_by_hand(ema):
    """Generator, critic and average after five steps; the average's decay is at most (1 + n) / (10 + n)."""
    rate = 1e-2
    spec = critic(weight=0.1)
    stage = Stage(
        steps=10**9, rate=rate, final_rate=0.0, ema=ema, losses={"l1": Loss()}, critics={"hr": spec}
    )
    # Without batch norm, under which biases have a gradient of noise alone, which Adam makes a step of.
    state = make_state(plain_critics(stage))
    batches = [(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32)) for _ in range(5)]
    generator, discriminator, average = by_hand(state, batches, rate, 0.1)
    for step, (lr, hr) in enumerate(batches):
        state.set_rates(step)
        train_step(state, [(lr, hr, ())], step)
        # The generator's step left nothing for the critic's next one, which trains again.
        assert all(p.grad is None and p.requires_grad for p in state.critics[0].network.parameters())
    member = state.members[0]
    for found, expected in (
        (member.network.parameters(), generator.parameters()),
        (state.critics[0].network.parameters(), discriminator.parameters()),
        (member.average.module.parameters(), average),
    ):
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=5e-4)  # of steps of 1e-2
    moved = [(a - b).abs().max() for a, b in zip(average, member.network.parameters(), strict=True)]
    assert max(moved) > 1.5e-3


def test_terms_of_a_batch_in_parts_are_its_means():
    """What is logged of two halves is what is logged of the whole."""
    stage = plain_critics(Stage(steps=10, losses={"l1": Loss()}, critics={"hr": critic(weight=0.1)}))
    (lr, hr), found = make_batch(), []
    for parts in ([(lr, hr, ())], [(lr[k : k + 1], hr[k : k + 1], ()) for k in (0, 1)]):
        found.append(values(train_step(make_state(stage, accumulate=len(parts)), parts, 0)))
    assert found[0].keys() == found[1].keys() == {"critic_hr", "l1", "adversarial_hr"}
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-3, atol=1e-5)


def test_no_gradient_of_the_generators_reaches_the_critics():
    """Their weights ask for none while the generator's terms are made, and for all again afterwards."""
    state = make_state(Stage(steps=10, losses={"l1": Loss()}, critics={"hr": critic(weight=0.1)}))
    network, asked = state.critics[0].network, []
    network.register_forward_hook(lambda *_: asked.append({p.requires_grad for p in network.parameters()}))
    train_step(state, [(*make_batch(), ())], 0)
    # HR and SR for the critic's own step, then SR for the generator's.
    assert asked == [{True}, {True}, {False}]


# Frozen networks with batch norm.


class Shape(Discriminator):
    """Tells sparse noise from Gaussian noise by its large values in units of its standard deviation, as its
    batch norm has it: the share beyond 1.5."""

    def __init__(self):
        super().__init__([])
        self.norm = torch.nn.BatchNorm2d(3, affine=False)

    def forward(self, x):
        return torch.relu(self.norm(x).abs() - 1.5).mean((1, 2, 3))[:, None]


def auc(real, fake):
    """The chance that a real image's verdict is the greater."""
    return float((real[:, None] > fake[None]).float().mean())


def scenes(count=12):
    """Batches of sparse and of Gaussian noise, each batch of another contrast, which the running statistics
    cannot follow."""
    torch.manual_seed(11)
    for _ in range(count):
        contrast = 10 ** (2 * torch.rand(2) - 1)
        sparse = torch.randn(8, 3, 32, 32) * (torch.rand(8, 3, 32, 32) < 0.1) * 10**0.5
        yield contrast[0] * sparse, contrast[1] * torch.randn(8, 3, 32, 32)


def test_a_teachers_discriminator_tells_by_batch_statistics_what_its_running_ones_hide():
    network = Shape().train()
    for real, fake in scenes():
        network(real), network(fake)
    frozen = Teacher(create_generator("srgan_tiny"), copy.deepcopy(network)).discriminator
    running = copy.deepcopy(network).eval()

    def verdicts(judge):
        with torch.no_grad():
            pairs = [(judge(real), judge(fake)) for real, fake in scenes()]
        return auc(*(torch.cat(side)[:, 0] for side in zip(*pairs, strict=True)))

    assert abs(verdicts(running) - 0.5) < 0.15 and verdicts(frozen) > 0.8


def buffers(network):
    return {key: value.clone() for key, value in network.named_buffers()}


@pytest.mark.parametrize("norm", ["bn", "spectral"])
def test_imitation_is_of_verdicts_by_batch_statistics_on_hr_and_on_sr(norm):
    """MSE of the logits on both, HR and SR apart, against a copy of the teacher's discriminator that trains;
    its buffers stay, bit for bit."""
    teacher = make_teacher(6)
    if norm == "spectral":
        teacher = Teacher(teacher.generator, create_discriminator("vgg", channels=6, norm="spectral"))
    spec = critic(weight=0.1, init="teacher")
    stage = Stage(steps=10, losses={"l1": Loss(), "discriminator": Loss()}, critics={"hr": spec})
    state = make_state(stage, teacher=teacher)
    state.teachers[0].train()
    before = buffers(teacher)
    twin, own = copy.deepcopy(teacher.discriminator), copy.deepcopy(state.critics[0].network)
    # Spectral norm's power iteration would change the weights with each pass.
    twin.train(norm == "bn")
    views = [detached(view) for view in forward_all(state, *make_batch())]
    value = values(critic_terms(state, views, 0))["imitation_hr"]
    with torch.no_grad():
        gaps = [(own(image) - twin(image)).square().mean() for image in (views[0].hr, views[0].sr)]
    torch.testing.assert_close(value.detach(), sum(gaps))
    assert min(gaps) > 1e-6
    train_step(state, [(*make_batch(), ())], 0)
    after = buffers(teacher)
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    assert not any(p.requires_grad for p in teacher.parameters())


def test_discriminator_features_are_by_batch_statistics():
    """Of SR and of the teacher's SR, each by its own."""
    state = make_state(Stage(steps=10, losses={"discriminator": Loss()}), teacher=make_teacher(6))
    (view,) = forward_all(state, *make_batch())
    value = state.members[0].losses["discriminator"](view)
    twin = copy.deepcopy(state.teachers[0].discriminator).train()
    found = []
    for image in (view.sr, view.target):
        x, features = image * 2 - 1, []
        for number, layer in enumerate(twin.features):
            x = layer(x)
            if number in (3, 7):  # half and full depth of four taps
                features.append(x)
        found.append(features)
    gaps = [(a - b).abs().mean() / b.abs().mean() for a, b in zip(*found, strict=True)]
    torch.testing.assert_close(value, torch.stack(gaps).mean(), rtol=1e-4, atol=1e-6)


def test_zoomed_images_leave_the_students_running_statistics():
    """They are those of LR images, whatever else the student is run on."""
    torch.manual_seed(0)
    student = create_generator("srgan", channels=6, blocks=2, tail="lr", norm="bn").train()
    teacher = make_teacher().generator
    zoom = create_loss("zoom", {}, {"student": student, "teacher": teacher})
    lr, hr = make_batch()
    view = View(lr, hr, student(lr))
    before = buffers(student)
    assert before
    zoom(view).backward()
    assert all(torch.equal(value, before[key]) for key, value in student.named_buffers())
    student(lr)
    assert any(not torch.equal(value, before[key]) for key, value in student.named_buffers())


def test_an_average_does_not_answer_for_hooks_of_the_stage_before():
    state = make_state(Stage(steps=10, losses={"hint": Loss()}), teacher=make_teacher())
    network, former = state.members[0].network, state.members[0].losses["hint"]
    again = build_state(state.fabric, state.stage, [network], {}, state.teachers, 0)
    seen = former.own()[0]
    again.members[0].average.module(torch.rand(2, 3, 8, 8))
    assert former.own()[0] is seen
    assert not any(module._forward_hooks for module in again.members[0].average.modules())


def test_critics_begin_apart_or_where_they_were():
    """Those of a cohort with weights of their own; one of an earlier stage as it is."""
    spec = replace(critic(weight=0.1), copies=2)
    stage = Stage(steps=10, losses={"l1": Loss()}, critics={"hr": spec, "more": spec})
    state = make_state(stage, networks=2)
    firsts = [player.network.features[0][0].weight for player in state.critics]
    assert len(firsts) == 8
    assert not any(torch.equal(a, b) for k, a in enumerate(firsts) for b in firsts[:k])
    stage = replace(stage, critics={"hr": replace(critic(weight=0.1), init="previous")})
    networks = [member.network for member in state.members]
    former = {(1, "hr", 0): state.critics[4].network}
    again = build_state(state.fabric, stage, networks, former, [], 0)
    assert (
        again.critics[1].network is former[1, "hr", 0] and again.critics[0].network is not former[1, "hr", 0]
    )


# Relativistic critics, and several.


@pytest.mark.parametrize("real", ["hr", "teacher"])
def test_a_relativistic_generator_is_told_by_what_its_critic_takes_for_real(real):
    spec = critic(weight=0.1, gan="relativistic", real=real)
    state = make_state(Stage(steps=10, losses={"l1": Loss()}, critics={"hr": spec}), teacher=make_teacher())
    view = forward_all(state, *make_batch(), targets=(torch.rand(2, 3, 32, 32),))[0]
    value = values(generator_terms(state, [view], 0))["adversarial_hr"]
    network = state.critics[0].network
    r, f = network(view.hr if real == "hr" else view.target), network(view.sr)
    expected = F.softplus(-(f - r.mean())).mean() + F.softplus(r - f.mean()).mean()
    torch.testing.assert_close(value, expected / 2)
    # And the critic's own, of the same two.
    value = values(critic_terms(state, [detached(view)], 0))["critic_hr"]
    expected = F.softplus(-(r - f.mean())).mean() + F.softplus(f - r.mean()).mean()
    torch.testing.assert_close(value, expected / 2)


def test_disagreement_is_the_mean_gap_of_softened_probabilities():
    """Over peers, images and copies: a member of three critics, at temperature 4."""
    stage = replace(MUTUAL, mutual=Mutual(ramp=0.0, temperature=4.0))
    stage = replace(stage, critics={"hr": replace(critic(weight=0.1), copies=3)})
    state = make_state(stage)
    views = [detached(view) for view in forward_all(state, *make_batch())]
    with torch.no_grad():
        for number, player in enumerate(state.critics):
            player.network.classifier[-1].bias += 3 * number  # far apart
    terms = values(critic_terms(state, views, 0))
    images = [views[0].hr, views[0].sr]
    p = [[(c.network(image) / 4).sigmoid() for image in images] for c in state.critics]
    gaps = [(p[k][i] - p[j][i]).abs().mean() for k in range(3) for j in range(3) for i in range(2) if j != k]
    expected = torch.stack(gaps).mean()
    assert expected > 0.1
    torch.testing.assert_close(terms["disagreement"], expected.detach(), rtol=1e-4, atol=1e-6)
