"""A function's signature and docstring as the options of a command, in the form that cyclopts takes."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, Unpack, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter

# The panels of a command's help: of the verbs that take a recipe, and of the others. What no panel names
# stands in a last one, OTHER.
RECIPE_PANELS = {
    "What to train": (
        "data config strategy model model_options scale teacher teacher_discriminator start members critics "
        "control replay val degradation"
    ),
    "Where it goes and runs": "out device devices nodes precision compile accumulate threads quiet",
    "How it trains": "set steps crop batch seed clip skip_bad",
    "Long runs": "resume allow_changes save_every keep validate_every retries tensorboard",
}
PANELS = {
    "What": (
        "budget images purpose weights model data sr folder first second recipe methods strategy teacher "
        "discriminator "
        "discriminator_options old replay val lr scale"
    ),
    "Where it goes and runs": (
        "out json csv latex format overwrite port device backend threads jobs engine address runtime profile"
    ),
}
OTHER = "How"
# Options that `--set` does as well.
HIDDEN = ("stages",)
SHORT = {"out": "-o", "weights": "-w"}
# What an option takes, where its type does not say it.
METAVARS = {
    **dict.fromkeys(
        ("teacher", "teacher_discriminator", "start", "weights", "json", "csv", "latex", "profile"), "FILE"
    ),
    **dict.fromkeys(("lr", "sr", "calibrate"), "FOLDER"),
    **dict.fromkeys(("out", "data", "replay", "val", "old", "runtime"), "PATH"),
    **dict.fromkeys(("model", "methods", "lpips", "protocol", "precision", "config", "architecture"), "NAME"),
    "set": "PATH=VALUE",
    "size": "WIDTHxHEIGHT",
    "names": "INPUT,OUTPUT",
    "device": "auto|cpu|mps|cuda|cuda:N",
    "fit": "WIDTHxHEIGHT",
    "degradation": "NAME|YAML",
}
# Parameters whose name as an option is a word of Python's.
NAMES = {"program": "for", "purpose": "for"}
# Lists that take all words up to the next option; of others, the option is repeated.
GREEDY = ("data", "sr")
TYPES = {int: "N", float: "NUMBER", str: "TEXT"}
# Of functions that take a recipe's fields as options.
CONFIG_HELP = "A recipe: a YAML file of these options, or the name of a shipped one. Options given here win."
SET_HELP = (
    "Override one field of the stages, the model options or the degradation, as "
    "stages.transfer.losses.output.weight=0.5; null removes an entry. May be repeated. srkd config shows the "
    "fields."
)


class Command(NamedTuple):
    """A command as the command line has it.

    Args:
        function: what runs.
        shown: a function whose signature is the options, with their help.
        usage: the first line of its help.
        flags: options without a value, as they are typed.
        mappings: options whose value is YAML.
        choices: options that take one of a few words, with these words.
        required: what must come from the command line or a recipe.
        takes_recipe: whether there are `--config` and `--set`.
    """

    function: Callable[..., Any]
    shown: Callable[..., Any]
    usage: str
    flags: set[str]
    mappings: set[str]
    choices: dict[str, tuple[Any, ...]]
    required: list[str]
    takes_recipe: bool

    @classmethod
    def of(cls, name: str, place: str) -> "Command":
        """Imports a command's function and reads its signature.

        Args:
            name: the command.
            place: its function, as `module:name`.
        """
        module, _, attribute = place.partition(":")
        function = getattr(importlib.import_module(module), attribute)
        parameters, texts, takes_recipe = _read_signature(function)
        kinds = {p.name: _plain_type(p.annotation) for p in parameters}
        panels = RECIPE_PANELS if takes_recipe else PANELS
        order = {key: place for place, key in enumerate(" ".join(panels.values()).split(), start=1)}
        shown = [_show(p, texts.get(p.name, ""), panels) for p in parameters]
        shown.sort(key=lambda p: order.get(p.name, len(order) + 1) if p.kind is p.KEYWORD_ONLY else 0)

        def stand_in(*_positional: Any, **_options: Any) -> None:
            """Stands in for the function while the words are parsed."""

        stand_in.__signature__ = inspect.Signature(shown)  # pyright: ignore[reportFunctionMemberAccess]  # as inspect reads it
        stand_in.__annotations__ = {p.name: p.annotation for p in shown}
        stand_in.__doc__ = _summary(function)
        stand_in.__name__ = name
        return cls(
            function,
            stand_in,
            usage=" ".join(["srkd", name, *_places(parameters, kinds)]),
            flags={option_name(key) for key, kind in kinds.items() if kind is bool},
            mappings={key for key, kind in kinds.items() if kind is dict},
            choices={key: get_args(kind) for key, kind in kinds.items() if get_origin(kind) is Literal},
            required=[p.name for p in parameters if p.default is p.empty],
            takes_recipe=takes_recipe,
        )


def _read_signature(function: Callable[..., Any]) -> tuple[list[inspect.Parameter], dict[str, str], bool]:
    """A function's parameters with resolved types, those of an unpacked TypedDict among them; their help;
    and whether there is such a dictionary."""
    hints = get_type_hints(function)
    texts = _argument_help(function)
    parameters: list[inspect.Parameter] = []
    takes_recipe = several = False
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_recipe = True
            (options,) = get_args(hint) if get_origin(hint) is Unpack else (hint,)
            texts = {**_argument_help(options), **texts, "config": CONFIG_HELP, "set": SET_HELP}
            defaults = getattr(importlib.import_module(options.__module__), "DEFAULTS", {})
            extra = {**get_type_hints(options), "config": str, "set": list[str]}
            parameters += [
                inspect.Parameter(key, parameter.KEYWORD_ONLY, default=defaults.get(key), annotation=kind)
                for key, kind in extra.items()
            ]
        elif parameter.name == "verbose":
            texts["quiet"] = "Print only what was asked for, and errors."
            parameters.append(parameter.replace(name="quiet", default=False, annotation=bool))
        elif parameter.name != "progress":
            # A positional list takes all the words; what follows it is given by name.
            kind = parameter.KEYWORD_ONLY if several else parameter.kind
            several = several or (kind is not parameter.KEYWORD_ONLY and _plain_type(hint) == list[str])
            parameters.append(parameter.replace(annotation=hint, kind=kind))
    return parameters, texts, takes_recipe


def _places(parameters: Sequence[inspect.Parameter], kinds: dict[str, Any]) -> list[str]:
    """The words of a usage line after the command; what can be left out stands in brackets."""
    places = []
    for parameter in parameters:
        if parameter.kind is not parameter.KEYWORD_ONLY:
            place = parameter.name.upper() + "..." * (kinds[parameter.name] == list[str])
            places.append(place if parameter.default is parameter.empty else f"[{place}]")
    return [*places, "[OPTIONS]"] if len(parameters) > len(places) else places


def _argument_help(documented: Any) -> dict[str, str]:
    from docstring_parser import parse

    params = parse(inspect.getdoc(documented) or "").params
    found = {
        name.strip(): " ".join((p.description or "").split())
        for p in params
        for name in p.arg_name.split(",")
    }
    return {name: text[:1].upper() + text[1:] for name, text in found.items()}


def _summary(function: Callable[..., Any]) -> str:
    """A docstring's text before its first section, a line for each paragraph."""
    text = (inspect.getdoc(function) or "").split("\nArgs:")[0].split("\nReturns:")[0]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))


def _plain_type(hint: Any) -> Any:
    """A type as the command line knows it: list[str] for several, dict for a mapping, else without None."""
    kinds = list(get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,))
    kinds = [kind for kind in kinds if kind is not NoneType]
    origins = [get_origin(kind) or kind for kind in kinds]
    if any(isinstance(o, type) and issubclass(o, dict) for o in origins):
        return dict
    if any(isinstance(o, type) and issubclass(o, Sequence) and o is not str for o in origins):
        return list[str]
    kinds = [str if kind is Path else kind for kind in kinds]
    return Union[tuple(dict.fromkeys(kinds))]  # noqa: UP007  # of types that are known only here


def _show(parameter: inspect.Parameter, text: str, panels: dict[str, str]) -> inspect.Parameter:
    """A parameter as cyclopts takes it."""
    name, kind = parameter.name, _plain_type(parameter.annotation)
    title = next((title for title, names in panels.items() if name in names.split()), OTHER)
    default = parameter.default
    given = default is not parameter.empty and default not in (None, False, {}, ())
    settings = Parameter(
        name=[option_name(name), SHORT[name]] if name in SHORT else option_name(name),
        group=Group(title, sort_key=[*panels, OTHER].index(title)),
        help=text,
        negative=(),
        # The last one counts; of a list, all.
        allow_repeating=None if kind == list[str] else True,
        consume_multiple=name in GREEDY and kind == list[str],
        converter=_to_number if kind is float or kind is int or int in get_args(kind) else None,
        metavar=(None if get_origin(kind) is Literal else METAVARS.get(name)) or _metavar(kind),
        show=name not in HIDDEN and not (get_origin(kind) is Literal and len(get_args(kind)) == 1),
        show_choices=get_origin(kind) is Literal,
        show_default=given and (", ".join if isinstance(default, tuple) else True),
    )
    empty = parameter.empty if default is parameter.empty and panels is PANELS else None
    annotation = Annotated[str if kind is dict else kind, settings]
    return parameter.replace(
        annotation=annotation, default=default if given else (False if kind is bool else empty)
    )


def _metavar(kind: Any) -> str | None:
    """What an option of this type takes, in a word; nothing for a flag."""
    if kind is bool:
        return None
    if kind is dict:
        return "YAML"
    if get_origin(kind) is Literal:
        return "NAME"
    words = [word for part in get_args(kind) for word in get_args(part)]
    return "|".join([TYPES.get(get_args(kind)[0] if words else kind, "TEXT"), *words])


def _to_number(kind: Any, tokens: Sequence[Any]) -> Any:
    """A number, whole where it must be (cyclopts itself would round 1.5), or one of a union's words."""
    text = tokens[0].value
    words = [word for part in get_args(kind) for word in get_args(part)]
    if text in words:
        return text
    try:
        return float(text) if kind is float else int(text)
    except ValueError:
        wanted = "a number" if kind is float else "a whole number"
        raise ValueError(f"'{text}' is not {' or '.join([wanted, *words])}") from None


def option_name(name: str) -> str:
    """A parameter's name as it is typed."""
    return "--" + NAMES.get(name, name).replace("_", "-")
