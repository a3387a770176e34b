"""The command line: the public functions, their signatures as options."""

import importlib
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any, get_args

from srkd import __version__
from srkd.errors import SrkdError, UsageError

# name -> where its function lives; imported for the command that is called and no other.
COMMANDS = {
    "quickstart": "srkd.commands.quickstart:quickstart",
    "train": "srkd.commands.train:train",
    "distill": "srkd.commands.distill:distill",
    "finetune": "srkd.commands.finetune:finetune",
    "mutual": "srkd.commands.mutual:mutual",
    "estimate": "srkd.commands.estimate:estimate",
    "config": "srkd.commands.config:show_config",
    "compare": "srkd.commands.compare:compare",
    "extend": "srkd.commands.extend:extend",
    "prepare": "srkd.commands.prepare:prepare",
    "runs": "srkd.commands.runs:list_runs",
    "evaluate": "srkd.commands.evaluate:evaluate",
    "upscale": "srkd.commands.upscale:upscale",
    "export": "srkd.commands.export:export",
    "interpolate": "srkd.commands.interpolate:interpolate",
    "card": "srkd.commands.card:card",
    "models": "srkd.commands.models:list_models",
}
SHORT = {"-o": "--out", "-w": "--weights"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 for a failure or 2 for misuse."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"srkd {__version__}")
        return 0
    name, *words = words
    if name not in COMMANDS:
        print(f"srkd: unknown command '{name}'; choose from: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        call(name, words)
        return 0
    except SrkdError as error:
        _complain(name, error)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"srkd {name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


def _complain(name: str, error: SrkdError) -> None:
    """Prints an error; of several processes, misuse that all see is said by the first alone."""
    rank = os.environ.get("LOCAL_RANK", "0")
    if rank == "0":
        print(f"srkd {name}: {error}", file=sys.stderr)
    elif not isinstance(error, UsageError):
        print(f"srkd {name}, process {rank}: {error}", file=sys.stderr)


def call(name: str, words: Sequence[str]) -> None:
    """Parses the words of a command and calls its function.

    A recipe's keys are arguments that come before those of the command line; `--stages.a.b value` reaches
    into a nested mapping.
    """
    import yaml
    from jsonargparse import ArgumentError, ArgumentParser

    from srkd.config import load_recipe, merge

    function = find(name)
    parameters = inspect.signature(function).parameters
    positional = [key for key, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    # One that may be a list takes all the words.
    several = [key for key in positional if "list[" in str(parameters[key].annotation)]
    positional = positional[: positional.index(several[0]) + 1] if several else positional
    places = [f"{key.upper()}..." if key in several else key.upper() for key in positional]
    usage = " ".join(["%(prog)s", *places, "[OPTIONS]"])
    parser = ArgumentParser(prog=f"srkd {name}", usage=usage, exit_on_error=False)
    takes_recipe = "options" in parameters
    if takes_recipe:
        parser.add_argument(
            "--config", help="a recipe: a YAML file of these arguments, or a shipped recipe's name"
        )
    parser.add_function_arguments(function, as_positional=False)
    words, nested = _take_nested(words)
    if takes_recipe:
        keys = {action.dest for action in parser._actions} - {"help", "config"}
        words = _with_recipe(words, keys, load_recipe)
    words = _spell_out(words, parser, positional)
    try:
        arguments = parser.parse_args(words).as_dict()
    except ArgumentError as error:
        raise UsageError(f"{_plain(str(error))}; see srkd {name} --help") from error
    arguments.pop("config", None)
    for path, text in nested:
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"--{'.'.join(path)}: '{text}' is not valid YAML") from error
        if takes_recipe and path[0] in ("stages", "model_options"):
            arguments.setdefault(path[0], {})
        if not isinstance(arguments.get(path[0], ""), dict):
            raise UsageError(f"--{'.'.join(path)}: there is no mapping '{path[0]}'; see srkd {name} --help")
        for key in reversed(path):
            value = {key: value}
        arguments[path[0]] = merge(arguments.get(path[0]) or {}, value[path[0]], path[0])
    function(**arguments)


def _plain(message: str) -> str:
    """A parser's message in the words of the command line, on one line."""
    message = re.sub(r"Parser key \"(\w+)\":", r"--\1:", " ".join(message.split()))
    message = re.sub(r"a typing\.Literal\[([^]]*)\]", r"one of \1", message)
    return re.sub(r"a <class '(\w+)'>", r"\1", message)


def find(name: str) -> Callable:
    """The function behind a command."""
    module, _, attribute = COMMANDS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _take_nested(words: Sequence[str]) -> tuple[list[str], list[tuple[list[str], str]]]:
    """Takes options with a dot, `--stages.a.b value` and `--stages.a.b=value`, out of the words."""
    rest, nested = [], []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if not re.match(r"--\w+\.", word):
            rest.append(word)
            continue
        key, found, value = word.removeprefix("--").partition("=")
        if not found:
            if not queue:
                raise UsageError(f"--{key} needs a value")
            value = queue.pop(0)
        nested.append((key.split("."), value))
    return rest, nested


def _spell_out(words: Sequence[str], parser: Any, positional: Sequence[str]) -> list[str]:
    """Makes every word `--snake_case=value`: from dashes, from a short form, from `--option value`, from a
    bare `--flag`, and from a positional word, whose name is the next of `positional` (a list takes all)."""
    flags = {action.dest for action in parser._actions if getattr(action, "_typehint", None) is bool}
    lists = {
        action.dest for action in parser._actions if list[str] in get_args(getattr(action, "_typehint", None))
    }
    several: dict[str, list[str]] = {}
    names = iter(positional)
    name = None
    result = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        word = SHORT.get(word, word)
        if not word.startswith("-") or word == "-":
            if name not in lists:
                name = next(names, None)
            if name is not None and name in lists:
                several.setdefault(name, []).append(word)
            else:
                result.append(f"--{name}={word}" if name else word)
        elif word.startswith("--"):
            key, found, value = word[2:].partition("=")
            key = key.replace("-", "_")
            if not found and key in flags:
                value = queue.pop(0) if queue[:1] in (["true"], ["false"]) else "true"
            elif not found and queue and key != "help":
                value = queue.pop(0)
            if key in lists and value and not value.startswith("["):
                several.setdefault(key, []).append(value)
            else:
                result.append(f"--{key}={value}" if found or value else f"--{key}")
        else:
            result.append(word)
    # An option that is given several times is a list.
    result += [
        f"--{key}={values[0] if len(values) == 1 else json.dumps(values)}" for key, values in several.items()
    ]
    return result


def _with_recipe(words: list[str], known: Set[str], load: Callable) -> list[str]:
    """Puts the arguments of a `--config` recipe before the words."""
    for index, word in enumerate(words):
        if word == "--config" and index + 1 < len(words):
            name, rest = words[index + 1], words[:index] + words[index + 2 :]
        elif word.startswith("--config="):
            name, rest = word.partition("=")[2], words[:index] + words[index + 1 :]
        else:
            continue
        recipe = load(name)
        for key in recipe:
            if key not in known:
                raise UsageError(
                    f"recipe {name}: unknown key '{key}'; choose from: {', '.join(sorted(known))}"
                )
        pairs = [
            (key, value if isinstance(value, str) else json.dumps(value)) for key, value in recipe.items()
        ]
        return [*(f"--{key}={text}" for key, text in pairs), *rest]
    return words


def _overview() -> str:
    """The help of `srkd`: each command with the first line of its function's docstring, read without
    importing anything heavy."""
    import ast
    from importlib.util import find_spec

    lines = [
        "usage: srkd COMMAND [OPTIONS]",
        "",
        "Make super-resolution GANs small by knowledge distillation.",
        "",
    ]
    for name, place in COMMANDS.items():
        module, _, attribute = place.partition(":")
        spec = find_spec(module)
        assert spec is not None and spec.origin is not None
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        node = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == attribute)
        lines.append(f"  {name:<12}{(ast.get_docstring(node) or '').splitlines()[0]}")
    return "\n".join(
        [*lines, "", "srkd COMMAND --help lists a command's options; srkd --version the version."]
    )
