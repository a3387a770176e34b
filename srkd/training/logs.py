"""What a run says about itself: log.jsonl, run.json, TensorBoard."""

import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from srkd.errors import SrkdError
from srkd.files import write_text

LOG, STATE, LOCK = "log.jsonl", "run.json", ".lock"
# There while somebody wants the run to stop.
STOP = ".stop"
_PACKAGES = ("srkd", "torch", "torchvision", "lightning-fabric", "numpy")


def read_state(folder: Path) -> str | None:
    """What a run last said it was doing; None where it said nothing that can be read."""
    return _read_json(folder / STATE).get("state")


def _read_json(path: Path) -> dict[str, Any]:
    """A file's mapping; empty where there is none, or something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def read_facts(folder: Path) -> dict[str, Any] | None:
    """A run's `run.json`; None where there is none, or one that cannot be read."""
    facts = _read_json(folder / STATE)
    return facts if {"state", "stage", "step"} <= facts.keys() else None


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The entries of a run's log, none where there is no log; a line that a kill cut short is left out."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"stage", "step"} <= entry.keys():
            entries.append(entry)
    return entries


def is_locked(folder: Path) -> bool:
    """Whether a process trains in a folder, as far as locks reach."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except (Timeout, OSError):
        return True


class RunLog:
    """Writes what happens in a run into its folder. A log that is not active writes nothing.

    Args:
        folder: the run's.
        strategy: its name, for `srkd runs`.
        active: false in all processes but the first.
        tensorboard: write TensorBoard's files too.
    """

    def __init__(self, folder: Path, strategy: str, active: bool = True, tensorboard: bool = False):
        self.folder, self.active, self.tensorboard = folder, active, tensorboard
        self.writer = None
        self.facts: dict[str, Any] = {
            "state": "running",
            "strategy": strategy,
            "stage": "",
            "step": 0,
            "steps": 0,
            "psnr": {},
            "best": {},
            "started": _now(),
            "host": platform.node(),
            "command": " ".join(["srkd", *sys.argv[1:]])
            if Path(sys.argv[0]).stem in ("srkd", "__main__")
            else None,
            "commit": _commit(),
            "versions": {
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in _PACKAGES},
            },
        }

    def begin(self, stage: str = "", step: int = 0) -> None:
        """Opens the log; of a run that resumes at a step, the entries after it are dropped."""
        if not self.active:
            return
        if self.tensorboard:
            from lightning_fabric.loggers.tensorboard import TensorBoardLogger

            logger = TensorBoardLogger(root_dir=self.folder, name="tensorboard", version="")
            self.writer = logger.experiment
        self.rewind(stage, step)
        self.update()

    def rewind(self, stage: str, step: int, notes: bool = False) -> None:
        """Drops the entries that came after a step, or all where there is no stage; `notes` spares notes."""
        path = self.folder / LOG
        if not self.active or not path.exists():
            return
        kept, reached = [], False
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # cut short by a kill
                continue
            reached = reached or entry["stage"] == stage
            # By its place: a changed recipe may no longer have the stage.
            before = entry["step"] <= step if entry["stage"] == stage else not reached
            if stage and (before or (notes and "note" in entry)):
                kept.append(line)
        write_text(path, "".join(line + "\n" for line in kept))

    def update(self, **facts: Any) -> None:
        """Writes run.json."""
        self.facts |= facts
        if self.active:
            write_text(self.folder / STATE, json.dumps({**self.facts, "updated": _now()}, indent=1) + "\n")

    def losses(
        self, stage: str, step: int, values: Mapping[str, float], rates: Mapping[str, float], speed: float
    ) -> None:
        """Logs the losses of a step by name, the learning rates by player, and the speed in steps/s."""
        rounded = {key: round(value, 6) for key, value in values.items()}
        entry = {"stage": stage, "step": step, "losses": rounded, "rates": dict(rates)}
        self._append({**entry, "steps_per_second": round(speed, 2)})
        if self.writer is not None:
            for kind, numbers in (("loss", values), ("rate", rates)):
                for name, value in numbers.items():
                    self.writer.add_scalar(f"{stage}/{kind}/{name}", value, step)

    def scores(self, stage: str, step: int, scores: Sequence[float], strips: Sequence[np.ndarray]) -> None:
        """Logs the members' validation PSNR, and image strips `(H, W, 3)` uint8."""
        self._append({"stage": stage, "step": step, "psnr": [round(score, 4) for score in scores]})
        if self.writer is not None:
            for number, score in enumerate(scores):
                self.writer.add_scalar(f"{stage}/psnr/{number}", score, step)
            for number, strip in enumerate(strips):
                self.writer.add_image(f"{stage}/bicubic, SR, HR/{number}", strip, step, dataformats="HWC")
            self.writer.flush()

    def note(self, stage: str, step: int, message: str) -> None:
        """Logs something that happened."""
        self._append({"stage": stage, "step": step, "note": message})

    def _append(self, entry: dict[str, Any]) -> None:
        if not self.active:
            return
        path = self.folder / LOG
        try:
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise SrkdError(
                f"cannot write {path}: {error.strerror}; earlier checkpoints are intact"
            ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _commit() -> str | None:
    """The git commit of the package's checkout, or of the working folder; `+` after it when changed since."""
    for folder in (Path(__file__).parent, Path.cwd()):
        command = [
            "git",
            "-C",
            str(folder),
            "describe",
            "--always",
            "--abbrev=40",
            "--exclude=*",
            "--dirty=+",
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, encoding="utf-8", errors="replace", timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode == 0:
            return done.stdout.strip()
    return None
