"""The command line: the public functions, with their signatures and docstrings as options and help."""

import ast
import inspect
import os
import re
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    Group,
    MissingArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from srkd import __version__
from srkd.errors import SrkdError, UsageError, name_missing_extra
from srkd.options import Command, option_name
from srkd.terminal import accept_all_characters, answering

# The panels of the help. A command that stands in none, but in the stub, is listed under OTHER.
PANELS = {
    "Compress": "compress profile",
    "Use a network": "upscale demo evaluate export interpolate card",
    "Train one": "train distill finetune mutual extend critic compare",
    "Data and runs": "prepare degrade runs stop estimate config",
    "Look up": "models taps backends",
    "Start": "quickstart",
}
OTHER = "More"
# Options that became commands.
MOVED = {
    "--dry-run": "srkd estimate",
    "--print-config": "srkd config",
    "--list-backends": "srkd backends",
    "--taps": "srkd taps",
}
TOP_OPTIONS = ("--help", "--version", "--install-completion")
SUMMARY = "Make super-resolution GANs small by knowledge distillation."
EPILOGUE = """srkd COMMAND --help explains a command.

srkd --install-completion sets up Tab in bash, zsh or fish; srkd --version prints the version."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 for a failure, 2 for misuse, or 130 when interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    accept_all_characters()
    if not sys.warnoptions:
        # Libraries warn about matters that users cannot change.
        warnings.simplefilter("ignore")
    name = words[0] if words else ""
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except ModuleNotFoundError as error:
        _complain(str(name_missing_extra(error, f"srkd {name}")), misuse=True)
        return UsageError.exit_code
    except SrkdError as error:
        _complain(f"srkd {name}: {error}", misuse=isinstance(error, UsageError))
        return error.exit_code
    except KeyboardInterrupt:
        print(f"srkd {name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader is gone; Python would complain once more as it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help"):
        _overview().help_print()
        return 0 if words else 2
    if words[0] == "--version":
        print(f"srkd {__version__}")
        return 0
    if words[0] == "--install-completion":
        return _install_completion(words[1:])
    name, *rest = words
    if name not in find_commands():
        kind, choices = ("option", TOP_OPTIONS) if name.startswith("-") else ("command", find_commands())
        near = get_close_matches(name, choices, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose from: {', '.join(choices)}"
        print(f"srkd: unknown {kind} '{name}'; {hint}", file=sys.stderr)
        return 2
    call(name, rest)
    return 0


def _complain(message: str, misuse: bool) -> None:
    """Prints an error; misuse, which all processes of a run see, by the first alone."""
    rank = os.environ.get("LOCAL_RANK", "0")
    if rank == "0":
        print(message, file=sys.stderr)
    elif not misuse:
        print(f"process {rank}: {message}", file=sys.stderr)


@cache
def find_commands() -> dict[str, str]:
    """Each command with the import string of its function, in the order of the help; read from the stub, so
    that nothing is imported."""
    tree = ast.parse(Path(__file__).with_name("__init__.pyi").read_text(encoding="utf-8"))
    homes = {
        node.module.removeprefix("commands."): f"srkd.{node.module}:{node.names[0].name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("commands.")
    }
    order = [name for name in " ".join(PANELS.values()).split() if name in homes]
    return {name: homes[name] for name in (*order, *homes)}


def _overview() -> App:
    """The program as its help shows it, importing no command."""
    app = App(
        name="srkd",
        usage="Usage: srkd COMMAND [OPTIONS]",
        help=SUMMARY,
        help_epilogue=EPILOGUE,
        help_format="plaintext",
        help_flags=(),
        version_flags=(),
    )
    groups = {title: Group(title, sort_key=order) for order, title in enumerate((*PANELS, OTHER))}
    for order, (name, place) in enumerate(find_commands().items()):
        title = next((title for title, names in PANELS.items() if name in names.split()), OTHER)
        app.command(place, name=name, help=_first_sentence(place), group=groups[title], sort_key=order)
    return app


def _first_sentence(place: str) -> str:
    """The first line of a function's docstring."""
    module, _, function = place.partition(":")
    file = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    nodes = ast.parse(file.read_text(encoding="utf-8")).body
    node = next(n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == function)
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _install_completion(words: Sequence[str]) -> int:
    app = App(name="srkd", help=SUMMARY, version=__version__)
    for name in find_commands():
        app.command(Command.of(name, find_commands()[name]).shown, name=name)
    shell = words[0] if words else None
    try:
        path = app.install_completion(shell=shell)  # pyright: ignore[reportArgumentType]  # checked by cyclopts
    except (ValueError, RuntimeError, CycloptsError) as error:
        raise UsageError(f"name your shell, bash, zsh or fish ({' '.join(str(error).split())})") from error
    print(f"completion installed -> {path}; start a new shell to use it")
    return 0


def call(name: str, words: Sequence[str]) -> Any:
    """Parses the words of a command and calls its function.

    Raises:
        UsageError: the words do not fit the command.
    """
    command = Command.of(name, find_commands()[name])
    app = App(
        name=f"srkd {name}",
        default_command=command.shown,
        usage=f"Usage: {command.usage}",
        # Markdown would drop the backticks, by which `keep` is a word to type.
        help_format="plaintext",
        help_flags=(),
        version_flags=(),
    )
    words = _normalise(words, command.flags)
    if any(word in ("-h", "--help") for word in words[: words.index("--") if "--" in words else None]):
        app.help_print()
        return None
    try:
        _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise UsageError(f"{_explain(error)}; see srkd {name} --help") from error
    arguments = _merge_recipe(command, dict(bound.arguments))
    for key in command.required:
        if key not in arguments:
            raise UsageError(f"{key.upper()} is missing; see srkd {name} --help")
    if "quiet" in arguments:
        arguments["verbose"] = not arguments.pop("quiet")
    with answering():
        return command.function(**arguments)


def _normalise(words: Sequence[str], flags: set[str]) -> list[str]:
    """Option names with dashes, `--a.b VALUE` as `--set a.b=VALUE`, flags with a value as one word, and `-`,
    which stands for a stream, where it is not taken for an option."""
    result: list[str] = []
    streams: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            streams += queue
            break
        if word == "-":
            if result and re.fullmatch(r"-\w|--[\w-]+", result[-1]) and result[-1] not in flags:
                result[-1] += "=-"
            else:
                streams.append(word)
            continue
        option, found, value = word.partition("=")
        if word.startswith("--") and "." in option:
            if not found:
                if not queue:
                    raise UsageError(f"{option} needs a value")
                value = queue.pop(0)
            result.append(f"--set={option[2:].replace('-', '_')}={value}")
        elif word.startswith("--"):
            option = option.replace("_", "-")
            if option in flags and not found and queue[:1] in (["true"], ["false"]):
                found, value = "=", queue.pop(0)
            result.append(option + found + value)
        else:
            result.append(word)
    return [*result, "--", *streams] if streams else result


def _merge_recipe(command: Command, given: dict[str, Any]) -> dict[str, Any]:
    """The recipe's values under those given, and single fields set over both."""
    if not (command.takes_recipe or command.mappings & given.keys()):
        return given
    from srkd.config import EVERYWHERE, drop_from_stages, load_recipe, merge

    overrides, config = given.pop("set", None) or [], given.pop("config", None)
    arguments = dict(load_recipe(config)) if config else {}
    known = inspect.signature(command.shown).parameters.keys() - {"set", "config", "quiet"}
    for key in arguments:
        if key not in known:
            raise UsageError(f"recipe {config}: unknown key '{key}'; choose from: {', '.join(sorted(known))}")
        choices = command.choices.get(key, ())
        if choices and arguments[key] not in choices:
            raise UsageError(f"recipe {config}: {key} {_not_among(arguments[key], choices)}")
    for key in command.mappings & given.keys():
        given[key] = _read_yaml(given[key], option_name(key))
    if "stages" in arguments:
        arguments["stages"] = drop_from_stages(arguments["stages"], EVERYWHERE & given.keys())
    arguments |= given
    for override in overrides:
        path, found, text = override.partition("=")
        first, *inner = path.split(".")
        if not found or not inner or first not in command.mappings:
            *others, last = sorted(command.mappings)
            choices = f"{', '.join(others)} or {last}"
            raise UsageError(f"--set {override}: give PATH=VALUE, with a PATH below {choices}")
        value = _read_yaml(text, f"--set {path}")
        for key in reversed(inner):
            value = {key: value}
        before = arguments.get(first) or {}
        if isinstance(before, str):  # a preset's name stands for its mapping
            before = {"preset": before}
        arguments[first] = merge(before, value, first)
    return arguments


def _read_yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: '{text}' is not valid YAML") from error


def _explain(error: CycloptsError) -> str:
    """A parser's complaint in a few words."""
    match error:
        case UnknownOptionError():
            option = (error.token.keyword or error.token.value).partition("=")[0]
            if option in MOVED:
                return f"{option} is now a command, {MOVED[option]}"
            names = [name for argument in error.argument_collection for name in argument.names]
            near = get_close_matches(option, names, 1, cutoff=0.7)
            return f"unknown option {option}" + (f", did you mean {near[0]}?" if near else "")
        case MissingArgumentError(argument=argument) if argument is not None:
            if error.keyword is None and not argument.tokens:
                positional = argument.index is not None
                return f"{argument.name.lstrip('-').upper() if positional else argument.name} is missing"
            return f"{error.keyword or argument.name} needs a value"
        case UnusedCliTokensError(unused_tokens=[word, *_]):
            return f"unexpected '{word}'"
        case CoercionError(token=token, argument=argument) if token is not None and argument is not None:
            option = token.keyword or argument.name.lstrip("-").upper()
            if error.msg:
                return f"{option}: {error.msg}"
            choices = get_args(argument.hint) if get_origin(argument.hint) is Literal else ("true", "false")
            return f"{option}: {_not_among(token.value, choices)}"
    text = " ".join(str(error).split()).rstrip(".")
    return text[:1].lower() + text[1:]


def _not_among(value: Any, choices: Sequence[Any]) -> str:
    return f"'{value}' is not one of {', '.join(map(str, choices))}"
