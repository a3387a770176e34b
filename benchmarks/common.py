"""Command line, option checks and JSON files of the benchmark scripts."""

import argparse
import json
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from srkd.errors import SrkdError, UsageError
from srkd.files import write_text
from srkd.terminal import console

Size = tuple[int, int]


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser described by the first line of the script's docstring."""
    return argparse.ArgumentParser(description=(doc or "").split("\n")[0])


def run_script(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], object],
    words: Sequence[str] | None = None,
    on_interrupt: str = "interrupted",
) -> None:
    """Calls `work` with the parsed arguments. Errors and Ctrl-C end the process with one line."""
    arguments = parser.parse_args(words)
    try:
        work(arguments)
    except SrkdError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: {on_interrupt}\n")


def check_at_least(least: int, **options: int) -> None:
    for option, value in options.items():
        if value < least:
            raise UsageError(f"--{option} must be at least {least}, not {value}")


def check_folder(option: str, path: Path | None) -> None:
    if path is not None and not path.is_dir():
        raise UsageError(f"{option}: there is no folder {path}")


def check_file(option: str, path: Path | None) -> None:
    if path is not None and not path.is_file():
        raise UsageError(f"{option}: there is no file {path}")


def check_output(option: str, path: Path | None, suffix: str = "") -> None:
    """Rejects an output path before the work rather than after it."""
    if path is None:
        return
    if not path.name.endswith(suffix):
        raise UsageError(f"{option}: {path} does not end in {suffix}")
    if path.is_dir():
        raise UsageError(f"{option}: {path} is a folder; give a file")


def parse_size(text: str) -> Size:
    """An argparse type: `128x96` to (128, 96)."""
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) >= 16 for side in sides):
        raise argparse.ArgumentTypeError(f"{text} is not WIDTHxHEIGHT with at least 16 pixels each")
    return int(sides[0]), int(sides[1])


def write_json(path: Path, result: Any) -> None:
    write_text(path, json.dumps(result, indent=1) + "\n")


def write_report(path: Path, result: Any, markdown: str) -> None:
    """Writes results, and beside them a text of the same name."""
    write_json(path, result)
    write_text(path.with_suffix(".md"), markdown)
    console.print(f"-> {path}, {path.with_suffix('.md').name}", markup=False)


def machine() -> str:
    return platform.processor() or platform.machine()


def device_name(device: Any) -> str:
    """The card's name of a torch device; `cpu` for the CPU."""
    import torch

    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else str(device)


def versions(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in packages}
