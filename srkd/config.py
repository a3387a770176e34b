"""What is trained, as data: losses, critics, stages and strategies as dataclasses, merged from YAML.

"Discriminator" is a network; a "critic" is a discriminator's place in a stage, with its loss and schedule.
This module imports no torch.
"""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from srkd.errors import UsageError, choose
from srkd.files import StrPath

# What can be set in all stages at once.
EVERYWHERE = frozenset(["steps", "crop", "batch"])

Schedule = Literal["constant", "linear", "cosine"]
Gan = Literal["vanilla", "least_squares", "hinge", "relativistic"]


@dataclass(frozen=True)
class Loss:
    """A loss on the generator.

    Args:
        weight: its factor at the stage's start.
        schedule: how the factor moves to `final` over the stage.
        final: its factor at the stage's end, unless the schedule is constant.
        options: arguments of the loss's class.
    """

    weight: float = 1.0
    schedule: Schedule = "constant"
    final: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Critic:
    """A discriminator, and the adversarial loss that it feeds to the generator.

    Args:
        weight, schedule, final: the factor of the adversarial loss on the generator, as in Loss.
        real: what counts as real: HR images, or the teacher's SR.
        gan: the adversarial loss.
        init: `fresh`; `previous`, carried on as it is from an earlier stage's critic of this name (fresh
            where there is none); or `teacher`, copied from the teacher's discriminator where shapes match.
        imitate: factor of MSE(logits, teacher discriminator's logits) on HR and SR, used with `init:
            teacher` when a smaller critic cannot copy everything.
        copies: discriminators of one generator, whose adversarial losses are averaged.
        name: the architecture.
        options: arguments of the architecture.
        rate: its learning rate, for two time scales (Heusel et al. 2017, arXiv 1706.08500); the stage's
            when not given.
        ramp: the part of the stage over which the adversarial weight rises from 0, while the critic itself
            learns from the first step.
        r1: factor gamma of the penalty gamma/2 |d logit / d real|^2 on the critic (Mescheder et al. 2018,
            arXiv 1801.04406).
        r1_every: steps between penalties, each then this many times as heavy.
    """

    weight: float = 1e-3
    schedule: Schedule = "constant"
    final: float = 0.0
    real: Literal["hr", "teacher"] = "hr"
    gan: Gan = "vanilla"
    init: Literal["fresh", "previous", "teacher"] = "fresh"
    imitate: float = 1.0
    copies: int = 1
    name: str = "vgg"
    options: dict[str, Any] = field(default_factory=lambda: {"channels": 32})
    rate: float | None = None
    ramp: float = 0.0
    r1: float = 0.0
    r1_every: int = 16


@dataclass(frozen=True)
class Mutual:
    """Mutual distillation between all critics of a cohort (vanilla adversarial loss only).

    Args:
        weight: the factor of the KL term on each discriminator (lambda).
        temperature: softens both distributions (tau); the term is scaled by its square.
        ramp: the part of the stage over which the weight rises from 0.
    """

    weight: float = 0.1
    temperature: float = 2.0
    ramp: float = 0.1


@dataclass(frozen=True)
class Stage:
    """One training stage, its learning rate cosine-decayed from `rate` to `final_rate`.

    Args:
        steps: optimiser steps.
        rate, final_rate: learning rate at the stage's start and end.
        optimizer: the generators' (critics have Adam): `adam` (0.9, 0.99), or `muon`, for which three times
            Adam's rate is a good one.
        weight_decay: of Muon's matrices, in each step as a share of the rate.
        crop: side of the square HR crops, in pixels.
        batch: crops per step.
        ema: decay of the averaged weights, which are what is validated and saved.
        losses: the generator's losses by name.
        critics: the discriminators by name.
        mutual: mutual distillation between the critics.
        kd_replaces: scale the losses against HR by (1 - weight of `output`), instead of adding to them.
    """

    steps: int = 10_000
    rate: float = 2e-4
    final_rate: float = 1e-6
    optimizer: Literal["adam", "muon"] = "adam"
    weight_decay: float = 0.0
    crop: int = 96
    batch: int = 16
    ema: float = 0.999
    losses: dict[str, Loss] = field(default_factory=dict)
    critics: dict[str, Critic] = field(default_factory=dict)
    mutual: Mutual | None = None
    kd_replaces: bool = False


@dataclass(frozen=True)
class Strategy:
    """What a strategy runs.

    Args:
        stages: in their order.
        verb: the verb that runs it.
        teacher: how the teacher that it imitates was trained.
        model: the generator to train when none is named, if it is not the usual one.
        members: generators in the cohort when their number is not given to the verb.
    """

    stages: dict[str, Stage]
    verb: Literal["train", "distill", "finetune", "mutual"]
    teacher: Literal["psnr", "gan"] | None = None
    model: str | None = None
    members: int = 1


def override_stages(
    stages: Mapping[str, Stage], overrides: Mapping[str, Any], everywhere: Mapping[str, Any]
) -> dict[str, Stage]:
    """Applies a recipe's overrides to stages.

    Args:
        stages: a strategy's stages.
        overrides: stage name to nested mappings of fields, merged into the stage; a loss, critic or mutual
            term set to null is removed, and a stage set to null is skipped.
        everywhere: fields for all stages, weaker than `overrides`; None values are ignored.

    Raises:
        UsageError: an unknown stage or field, or a value of the wrong type, named with its place.
    """
    if not isinstance(overrides, Mapping):
        raise UsageError(f"stages: expected a mapping of stage names, not {overrides!r}")
    for name in overrides:
        choose("stage", name, stages)
    common = {key: value for key, value in everywhere.items() if value is not None}
    result = {}
    for name, stage in stages.items():
        if name in overrides and overrides[name] is None:
            continue
        merged = merge(merge(asdict(stage), common), overrides.get(name, {}), f"stages.{name}")
        result[name] = build(Stage, merged, f"stages.{name}")
    if not result:
        raise UsageError("no stage is left to run")
    return result


def drop_from_stages(stages: Any, names: Collection[str]) -> Any:
    """A recipe's overrides of stages without those fields, which an option that was typed sets in all stages.
    What is not a mapping stays, for `override_stages` to reject."""
    if not isinstance(stages, Mapping):
        return stages
    return {
        stage: {key: value for key, value in over.items() if key not in names}
        if isinstance(over, Mapping)
        else over
        for stage, over in stages.items()
    }


def merge(base: Mapping[str, Any], over: Any, where: str = "") -> dict[str, Any]:
    """Merges nested mappings; values of `over` win."""
    if not isinstance(over, Mapping):
        raise UsageError(f"{where}: expected a mapping, not {over!r}")
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = merge(old, value, f"{where}.{key}")
        result[key] = value
    return result


def load_recipe(recipe: StrPath) -> dict[str, Any]:
    """Reads a recipe: the arguments of a training verb, as `srkd.distill(**load_recipe("my.yaml"))`.

    Args:
        recipe: a YAML file, or the name of a shipped one.

    Raises:
        UsageError: there is no such file or name, or it is not a YAML mapping.
    """
    folder = Path(__file__).parent / "recipes"
    shipped = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    path = shipped.get(str(recipe), Path(recipe))
    if not path.is_file():
        raise UsageError(f"there is no recipe {recipe}; shipped recipes: {', '.join(shipped)}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a recipe: it must be a mapping of arguments")
    return content


def build(kind: Any, value: Any, where: str) -> Any:
    """Makes a value, as YAML or Python gives it, an instance of an annotated type: dataclasses, mappings of
    them, lists, tuples, unions, Literals, numbers, texts and paths.

    Raises:
        UsageError: it is of another type, named with its place.
    """
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin is dict and is_dataclass(args[1]):
        if not isinstance(value, Mapping):
            raise UsageError(f"{where}: expected a mapping, not {value!r}")
        present = {key: item for key, item in value.items() if item is not None}
        return {key: build(args[1], item, f"{where}.{key}") for key, item in present.items()}
    if origin is UnionType:
        choices = [choice for choice in args if choice is not NoneType]
        if value is None and NoneType in args:
            return None
        wanted = dict if isinstance(value, Mapping) else list if isinstance(value, list | tuple) else None
        fitting = [choice for choice in choices if wanted is not None and get_origin(choice) is wanted]
        return build((fitting or choices[-1:])[0], value, where)
    if origin is Literal:
        if not isinstance(value, Hashable) or value not in args:
            raise UsageError(
                f"{where}: '{' '.join(str(value).split())}' is not one of {', '.join(map(str, args))}"
            )
        return value
    if origin is list and isinstance(value, list | tuple):
        return [build(args[0], item, where) for item in value]
    if origin is tuple and isinstance(value, list | tuple):
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        if len(kinds) != len(value):
            raise UsageError(f"{where}: expected {len(kinds)} values, not {len(value)}")
        return tuple(build(each, item, where) for each, item in zip(kinds, value, strict=True))
    return _build_plain(origin or kind, value, where)


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: expected a mapping, not {value!r}")
    hints = get_type_hints(kind)
    for key in value:
        if key not in hints:
            names = ", ".join(f.name for f in fields(kind))
            raise UsageError(f"{where}: unknown key '{key}'; choose from: {names}")
    return kind(**{key: build(hints[key], item, f"{where}.{key}") for key, item in value.items()})


def _build_plain(kind: type, value: Any, where: str) -> Any:
    if kind is str and isinstance(value, Path):
        return str(value)
    if kind is float and isinstance(value, str):  # YAML reads 1e-4 as a string
        try:
            value = float(value)
        except ValueError:
            raise UsageError(f"{where}: expected a number, not '{value}'") from None
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"{where}: expected {_NAMES.get(kind, kind.__name__)}, not {value!r}")
    return float(value) if kind is float else value


_NAMES = {
    str: "a text",
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
    float: "a number",
    bool: "true or false",
}
