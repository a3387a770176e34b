"""Checkpoints: a run's last few, each one file, from which it resumes exactly."""

import contextlib
import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from srkd.errors import SrkdError, UsageError, first_line
from srkd.files import replacing
from srkd.models import create_discriminator
from srkd.models.base import Discriminator
from srkd.recipe import CHANGEABLE, Recipe
from srkd.terminal import note
from srkd.training.logs import read_state

FOLDER = "checkpoints"


class ChangedRunError(UsageError):
    """A run was to continue with another recipe, or other data, than it was started with."""


def list_checkpoints(folder: Path) -> list[Path]:
    """A run's checkpoints, the newest last; their names sort in the order of stages and steps."""
    # Hidden is one that a killed process was writing.
    return sorted(path for path in (folder / FOLDER).glob("*.pt") if not path.name.startswith("."))


def save_checkpoint(folder: Path, number: int, content: Mapping[str, Any], keep: int) -> None:
    """Writes a checkpoint atomically, then removes all but the newest.

    Args:
        folder: the run's.
        number: of the stage, in order.
        content: `stage`, `step` and what else the run needs; tensors and plain values.
        keep: how many to keep.

    Raises:
        SrkdError: it cannot be written; the earlier ones are intact.
    """
    # Through memory, where writing cannot fail half-way; the file then fails as any file does.
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    path = folder / FOLDER / f"{number:02d}_{content['stage']}_{content['step']:09d}.pt"
    with replacing(path) as temporary, temporary.open("wb") as file:
        # Not write_bytes: the view that a traceback keeps of it crashes Python 3.12.1's garbage collector.
        file.write(buffer.getbuffer())
    # What lies beyond this step belongs to a future that a lower rate, or a changed recipe, abandoned.
    older = [other for other in list_checkpoints(folder) if other < path]
    newer = [other for other in list_checkpoints(folder) if other > path]
    for other in [*older[: max(len(older) + 1 - keep, 0)], *newer]:
        other.unlink(missing_ok=True)


def drop_checkpoints(folder: Path, keep: int = 0) -> None:
    """Removes a run's checkpoints but for the newest."""
    found = list_checkpoints(folder)
    for path in found[: max(len(found) - keep, 0)]:
        path.unlink(missing_ok=True)
    for path in (folder / FOLDER).glob(".*.part.pt"):
        path.unlink(missing_ok=True)
    if not keep:
        with contextlib.suppress(OSError):
            (folder / FOLDER).rmdir()


def load_newest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read; None where there is none.

    Raises:
        SrkdError: there are some, and none can be read.
    """
    found = list_checkpoints(folder)
    for path in reversed(found):
        try:
            return torch.load(path, weights_only=True, map_location="cpu")
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, OSError) as error:
            note(f"{path} is damaged ({first_line(error)}), trying an older one")
    if found:
        raise SrkdError(
            f"no checkpoint in {folder / FOLDER} can be read; to restart, move {folder} away or give another "
            "--out"
        )
    return None


def check_same_recipe(
    folder: Path,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    allow: bool,
    changeable: frozenset[str] = frozenset(),
) -> None:
    """Refuses to continue with another recipe, or says what changed where that is allowed; what is
    `changeable`, and CHANGEABLE, may differ.

    Raises:
        ChangedRunError: naming every differing key, with both values.
    """
    kept = {key: new.get(key) for key in old}
    changed = _list_changes(old, kept, CHANGEABLE | changeable)
    if not changed:
        return
    details = ", ".join(changed)
    if not allow:
        raise ChangedRunError(
            f"the run in {folder} was started with another recipe: {details}; restore it, or give another "
            "--out"
        )
    note(f"changed since the run was started: {details}")


def _differ(old: Any, new: Any) -> bool:
    """Whether two values of a recipe differ; two ways to write one path (`photos`, `./photos/`) do not."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return any(map(_differ, old, new))
    if isinstance(old, str) and isinstance(new, str) and os.sep in old + new:
        return os.path.realpath(old) != os.path.realpath(new)
    return old != new


def _list_changes(old: Mapping[str, Any], new: Mapping[str, Any], ignored: frozenset[str]) -> list[str]:
    """What differs in two recipes, in words; of nested mappings only the fields that do."""
    found: list[str] = []
    for key in [*old, *(key for key in new if key not in old)]:
        before, now = old.get(key), new.get(key)
        if key in ignored or not _differ(before, now):
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            found += [f"{key}.{line}" for line in _list_changes(before, now, frozenset())]
        else:
            found.append(f"{key} was {before!r}, now {now!r}")
    return found


def is_finished(recipe: Recipe) -> bool:
    """Whether the recipe's folder holds its run, finished.

    Raises:
        UsageError: it holds the finished run of another recipe, named by what differs.
    """
    if read_state(Path(recipe.out)) != "finished":
        return False
    check_folder(recipe)
    return True


def check_folder(recipe: Recipe) -> None:
    """Raises UsageError where the recipe's folder holds the run of another, named by what differs."""
    folder = Path(recipe.out)
    if not (folder / "recipe.yaml").is_file():
        return
    old, new = (
        yaml.safe_load(text) for text in ((folder / "recipe.yaml").read_text("utf-8"), recipe.to_yaml())
    )
    changed = _list_changes(old, new, CHANGEABLE)
    if changed:
        details = ", ".join(changed)
        raise UsageError(f"{folder} holds the run of another recipe: {details}; give another --out")


def dump_critics(critics: Mapping[tuple[int, str, int], Discriminator]) -> list[dict[str, Any]]:
    """Discriminators by (member, critic, copy) as plain values, with what rebuilds them."""
    return [{"key": list(key), "config": c.config, "weights": c.state_dict()} for key, c in critics.items()]


def load_critics(saved: list[dict[str, Any]]) -> dict[tuple[int, str, int], Discriminator]:
    """What `dump_critics` made, rebuilt."""
    critics = {}
    for entry in saved:
        critic = create_discriminator(**entry["config"])
        critic.load_state_dict(entry["weights"])
        critics[tuple(entry["key"])] = critic
    return critics
