"""The steps of `srkd compress`, each kept on disk with what it was made from, so that a killed command goes
on."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from srkd.errors import SrkdError, UsageError
from srkd.files import write_text
from srkd.terminal import heading, say

STATE = "steps.json"
WORK = "work"


class Steps:
    """What has been done in a folder.

    Args:
        folder: the command's `--out`; steps have folders of their own in its `work`.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / WORK / STATE
        self.done: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            try:
                self.done = json.loads(self.path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise SrkdError(f"{self.path} is damaged; move it away, and all is done again") from error
        self.count = 0
        # Seconds by step, those of earlier calls among them.
        self.seconds = {name: entry.get("seconds", 0.0) for name, entry in self.done.items()}

    def place(self, name: str) -> Path:
        """The folder of a step's files."""
        return self.folder / WORK / name

    def do(
        self,
        name: str,
        title: str,
        inputs: Mapping[str, Any],
        work: Callable[[Path], Mapping[str, Any]],
        outputs: Callable[[dict[str, Any]], Iterable[Path]] = lambda result: (),
    ) -> dict[str, Any]:
        """A step's result: of an earlier call, or of `work`, which is called now with the step's folder.

        A step that was interrupted, or whose outputs are missing, finds its folder as it is. One whose inputs
        have changed begins with an empty folder, and what changed is said.

        Args:
            name: of the step and its folder.
            title: for the heading.
            inputs: all that decides the result, as plain values.
            work: returns the result, as plain values.
            outputs: the files that belong to a result.
        """
        self.count += 1
        wanted, place = json.loads(json.dumps(inputs)), self.place(name)
        before = self.done.get(name)
        same = before is not None and before["inputs"] == wanted
        missing = None
        if before is not None and same and "result" in before:
            missing = next((path for path in outputs(before["result"]) if not path.exists()), None)
            if missing is None:
                say(f"{self.count}. {title}: done before")
                return before["result"]
        heading(f"{self.count}. {title}")
        if missing is not None:
            say(f"{missing} is missing: this step is done again")
        elif before is not None and not same:
            say(f"{_describe(before['inputs'], wanted)}: this step starts over, and those that need it")
            shutil.rmtree(place, ignore_errors=True)
            before = None
        elif before is not None:
            say("continuing where it was interrupted")
        spent = before.get("seconds", 0.0) if before else 0.0
        self.done[name] = {"inputs": wanted, "seconds": spent}
        self._write()
        began = time.monotonic()
        try:
            result = json.loads(json.dumps(work(place)))
            self.done[name]["result"] = result
        finally:
            self.done[name]["seconds"] = round(spent + time.monotonic() - began, 1)
            self.seconds[name] = self.done[name]["seconds"]
            with contextlib.suppress(SrkdError):
                self._write()
        self._write()
        return result

    def _write(self) -> None:
        write_text(self.path, json.dumps(self.done, indent=1) + "\n")


@contextlib.contextmanager
def open_steps(folder: Path) -> Iterator[Steps]:
    """The steps of a folder, which no other process works in meanwhile.

    Raises:
        UsageError: the folder holds something else, or another process works in it.
        SrkdError: it cannot be written.
    """
    if folder.is_file():
        raise UsageError(f"{folder} is a file; give a folder as --out")
    work = folder / WORK
    if folder.is_dir() and any(folder.iterdir()) and not work.is_dir():
        raise UsageError(f"{folder} is not empty, and srkd compress did not make it; choose another --out")
    try:
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work / ".lock", timeout=0):
            yield Steps(folder)
    except Timeout:
        raise UsageError(f"another srkd compress works in {folder}") from None
    except OSError as error:
        raise SrkdError(
            f"cannot write into {folder}: {error.strerror}; fix that and run the same command again, what "
            f"is done "
            "is kept"
        ) from error


def _describe(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What changed, in words."""
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return ", ".join(f"{key.replace('_', ' ')} {_words(before.get(key), now.get(key))}" for key in changed)


def _words(before: Any, now: Any) -> str:
    plain = str | int | float | bool | None
    if isinstance(before, plain) and isinstance(now, plain):
        return f"was {before}, is now {now}"
    return "has changed"
