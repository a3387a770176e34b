"""The arguments of a training run, and the stages that follow from them. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, TypedDict, get_type_hints

import yaml

from srkd.arguments import check_device
from srkd.config import Stage, build, override_stages
from srkd.degradation import Degradation, make_degradation, shorten
from srkd.errors import UsageError, choose
from srkd.files import StrPath
from srkd.strategies import STRATEGIES

_COUNTS = ("members", "critics", "devices", "nodes", "accumulate", "save_every", "keep", "validate_every")
_OPTIONAL_COUNTS = ("steps", "crop", "batch", "threads")

# Those of Lightning Fabric that keep weights and averages in float32.
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16")

# Options of a verb that are not part of its recipe.
VERB_OPTIONS = frozenset(["resume", "allow_changes"])

# What a resumed run may change: where and how it runs, not what it trains.
CHANGEABLE = frozenset(
    [
        *("out", "device", "devices", "nodes", "compile", "threads"),
        *("save_every", "keep", "validate_every", "retries", "tensorboard"),
    ]
)


class RunOptions(TypedDict, total=False):
    """Options that all training verbs share. Described here, too, are the arguments that stand in each verb's
    own signature.

    Args:
        data: folder of HR photographs (LR is made), or with HR and LR inside, or packed by `srkd prepare`, or
            `embedded`.
        model: the generator to train, a name that `srkd models` lists; when not given, that of `start`, or
            the strategy's usual one.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.
        model_options: arguments of its architecture, over those of the named size.
        teacher: weights of the teacher: a file of this package, one that spandrel loads, ONNX, or a shipped
            name; may be given several times. Its images come from a packed data set that holds them.
        teacher_discriminator: weights of its discriminator, if not beside it as training writes it.
        start: weights to start from; a strategy of several stages then skips pretraining. Where `model` has
            another tail, the tail starts with fresh weights; where it has another width or fewer blocks,
            channels are chosen or added, and blocks chosen.
        members: generators in the cohort, each with critics of its own; 2 for `mutual` when not given.
        critics: discriminators of each generator.
        control: train the no-distillation control instead: the same stages without teacher or mutual terms.
        out: folder for weights, checkpoints and logs; `runs/COMMAND`, as `runs/distill`, when not given.
        replay: data to train on as well, in equal parts.
        val: data for validation, in the forms of data, or a list of images of data as `sha256sum` writes it;
            those that `srkd prepare` set aside, or every 40th, when not given.
        degradation: how LR crops are made: `none` for bicubic, or at random as `real` (blur, resizing, noise
            and JPEG, twice, as published for Real-ESRGAN), `web` (resizing and JPEG) or `camera` (noise and
            light blur); or a mapping of the fields of srkd.degradation.Degradation over such a `preset`, as
            degradation.clean=0.2 for a fifth of clean pairs.
        scale: the super-resolution factor, 2, 3 or 4.
        steps: steps of every stage.
        crop: side of the HR crops in every stage, in pixels.
        batch: crops per step in every stage, over all devices.
        stages: overrides of single fields, as stages.transfer.losses.output.weight; null removes an entry.
        seed: decides initial weights and the order of the data.
        device: `auto`, `cpu`, `mps`, `cuda`, or one of several GPUs, `cuda:1`.
        devices: processes on each machine, one for each GPU; a batch is divided between them.
        nodes: machines; start one process per device on each with torchrun.
        precision: a precision of Lightning Fabric, such as 32-true, bf16-mixed or 16-mixed.
        compile: compile the networks with torch.compile; needs a C++ compiler on the CPU.
        accumulate: parts in which each batch is worked through, to save memory.
        clip: greatest norm of the generators' and of the critics' gradients.
        threads: CPU threads; all cores when not given.
        save_every: steps between checkpoints.
        keep: checkpoints kept.
        validate_every: steps between validations.
        retries: how often a stage returns to its last checkpoint, at half the rate, when a loss or gradient
            is not finite.
        tensorboard: write TensorBoard's files too: losses, rates, scores and image strips.
        skip_bad: leave out training images that cannot be read or are too small, with a note.
        resume: continue from the last checkpoint in `out`; start where there is none. A finished run goes on
            from its end with `steps` of more than its last stage had: with its optimiser's moments, and the
            schedule of so many steps.
        allow_changes: with `resume`, continue although the recipe or the data changed.
    """

    model_options: dict[str, Any]
    teacher: Sequence[StrPath] | StrPath | None
    teacher_discriminator: StrPath | None
    start: StrPath | None
    members: int
    critics: int
    control: bool
    out: StrPath
    replay: StrPath | None
    val: StrPath | None
    degradation: dict[str, Any] | str
    scale: int
    steps: int | None
    crop: int | None
    batch: int | None
    stages: dict[str, Any]
    seed: int
    device: str
    devices: int
    nodes: int
    precision: str
    compile: bool
    accumulate: int
    clip: float | None
    threads: int | None
    save_every: int
    keep: int
    validate_every: int
    retries: int
    tensorboard: bool
    skip_bad: bool
    resume: bool
    allow_changes: bool


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run. Paths are kept as texts, as they stand in YAML.

    Args:
        data: folder of HR photographs (LR is made), or with HR and LR inside, or packed by `srkd prepare`, or
            `embedded`.
        strategy: what to run, a key of srkd.strategies.STRATEGIES.
        model: the generator to train, a name that `srkd models` lists; when not given, that of `start`, or
            the strategy's usual one.

    The other fields are those of RunOptions.

    Raises:
        UsageError: a value of the wrong type or out of range.
    """

    data: str
    strategy: str
    model: str | None = None
    model_options: dict[str, Any] = field(default_factory=dict)
    teacher: list[str] | str | None = None
    teacher_discriminator: str | None = None
    start: str | None = None
    members: int = 1
    critics: int = 1
    control: bool = False
    out: str = "runs/latest"
    replay: str | None = None
    val: str | None = None
    degradation: dict[str, Any] | str = "none"
    scale: int = 4
    steps: int | None = None
    crop: int | None = None
    batch: int | None = None
    stages: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "32-true"
    compile: bool = False
    accumulate: int = 1
    clip: float | None = None
    threads: int | None = None
    save_every: int = 500
    keep: int = 2
    validate_every: int = 500
    retries: int = 3
    tensorboard: bool = False
    skip_bad: bool = False

    def __post_init__(self) -> None:
        hints = get_type_hints(Recipe)
        # Frozen for others; here values become what their annotations say: paths texts, "1e-4" a number.
        object.__setattr__(self, "degradation", shorten(self.mix))
        for entry in fields(self):
            value = build(hints[entry.name], getattr(self, entry.name), entry.name)
            object.__setattr__(self, entry.name, value)
        if isinstance(self.teacher, list) and len(self.teacher) == 1:
            # However it was given: a run must not seem to be another when it is resumed.
            object.__setattr__(self, "teacher", self.teacher[0])
        counts = [name for name in _OPTIONAL_COUNTS if getattr(self, name) is not None]
        for name in (*_COUNTS, *counts):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.scale not in (2, 3, 4):
            raise UsageError(f"scale must be 2, 3 or 4, not {self.scale}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed must be from 0 to 2^63 - 1, not {self.seed}")
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise UsageError(f"clip must be positive, not {self.clip}")
        choose("precision", self.precision, PRECISIONS)
        check_device(self.device)
        if ":" in self.device and self.devices * self.nodes > 1:
            raise UsageError(f"{self.device} is one GPU; several devices need --device cuda")
        if self.retries < 0:
            raise UsageError(f"retries must be 0 or more, not {self.retries}")

    @property
    def teachers(self) -> list[str]:
        """The teachers, of which there may be none."""
        if self.teacher is None:
            return []
        return [self.teacher] if isinstance(self.teacher, str) else list(self.teacher)

    @property
    def mix(self) -> Degradation | None:
        """The degradation with all its values; None where LR is bicubic's."""
        return make_degradation(self.degradation)

    def resolve(self) -> dict[str, Stage]:
        """The stages that will run, in order, with every override applied.

        Raises:
            UsageError: an unknown strategy, stage or field, or a value of the wrong type.
        """
        everywhere = {"steps": self.steps, "crop": self.crop, "batch": self.batch}
        stages = override_stages(self._table(), self.stages, everywhere)
        parts = self.devices * self.nodes * self.accumulate
        for name, stage in stages.items():
            if stage.batch % parts:
                raise UsageError(
                    f"the batch of {stage.batch} in stage {name} cannot be cut into {parts} parts"
                )
        if self.control:
            stages = {name: without_teacher(stage) for name, stage in stages.items()}
        return stages

    def to_yaml(self) -> str:
        """The recipe with its stages resolved; as a file it runs the same again."""
        stages: dict[str, Any] = dict.fromkeys(self._table())
        for name, stage in self.resolve().items():
            stages[name] = asdict(stage)
            # What the strategy has and this run lacks is removed there too.
            for key, entries in (("losses", stage.losses), ("critics", stage.critics)):
                removed = dict.fromkeys(k for k in getattr(self._table()[name], key) if k not in entries)
                stages[name][key] |= removed
        content = {**asdict(self), "stages": stages}
        if self.mix is not None:
            content["degradation"] = asdict(self.mix)
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)

    def _table(self) -> dict[str, Stage]:
        """The strategy's stages, before overrides."""
        stages = dict(STRATEGIES[choose("strategy", self.strategy, STRATEGIES)].stages)
        if self.start is not None and len(stages) > 1:
            stages.pop("pretrain", None)
        if self.critics > 1:
            for name, stage in stages.items():
                critics = {key: replace(critic, copies=self.critics) for key, critic in stage.critics.items()}
                stages[name] = replace(stage, critics=critics)
        return stages


# What options are when they are not given, for help; `out` and `members` depend on the verb.
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(sorted(VERB_OPTIONS), False),
    **{
        f.name: f.default
        for f in fields(Recipe)
        if f.default is not MISSING and f.name not in ("out", "members")
    },
}


def make_recipe(data: StrPath, strategy: str, model: str | None, options: RunOptions) -> Recipe:
    """The recipe of a training verb's arguments.

    Raises:
        UsageError: an unknown strategy or option, a wrong value, or no weights to fine-tune.
    """
    entry = STRATEGIES[choose("strategy", strategy, STRATEGIES)]
    given: dict[str, Any] = {key: value for key, value in options.items() if key not in VERB_OPTIONS}
    for key in given:
        choose("option", key, [field.name for field in fields(Recipe)])
    if entry.verb == "finetune" and given.get("start") is None:
        raise UsageError("fine-tuning starts from trained weights; give --start FILE")
    if model is None and given.get("start") is None:
        model = entry.model
    given = {"members": entry.members, "out": f"runs/{entry.verb}", **given}
    return Recipe(data, strategy, model, **given)  # type: ignore[arg-type]  # it makes paths texts itself


def without_teacher(stage: Stage) -> Stage:
    """A stage's control: all distillation removed, all else equal."""
    from srkd.losses import LOSSES

    losses = {k: v for k, v in stage.losses.items() if not LOSSES[choose("loss", k, LOSSES)].distills}
    critics = {
        k: replace(v, init="fresh" if v.init == "teacher" else v.init)
        for k, v in stage.critics.items()
        if v.real != "teacher"
    }
    return replace(stage, losses=losses, critics=critics, mutual=None, kd_replaces=False)
