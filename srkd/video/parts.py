"""What is done of a job that is not: a hidden folder beside its output, kept until the output is whole."""

import json
import shutil
from pathlib import Path
from typing import Any

from srkd.files import explain_write_error, replacing, write_text
from srkd.terminal import note

_JOB = "job.json"


class Parts:
    """A folder of numbered parts, each a file of data and a description that is written behind it: where
    there is a description, the part is whole.

    Args:
        target: the output that they will become.
        job: what they depend on; parts of another job are removed, which is said.
    """

    def __init__(self, target: Path, job: dict[str, Any]):
        self.target = target
        self.folder = name_folder(target)
        self.found: list[dict[str, Any]] = []
        # Written with the first part.
        self._job: str | None = None
        # As it is read again.
        job = json.loads(json.dumps(job))
        before = _read(self.folder / _JOB)
        if before == job:
            while (entry := _read(self._path(len(self.found), ".json"))) is not None:
                self.found.append(entry)
            return
        if before is not None:
            note(f"{target} was begun from another file or with other options, and begins anew")
        self.remove()
        self._job = json.dumps(job)

    def add(self, data: bytes | bytearray, about: dict[str, Any]) -> None:
        """Adds a part.

        Raises:
            SrkdError: it cannot be written.
        """
        if self._job is not None:
            write_text(self.folder / _JOB, self._job)
            self._job = None
        with replacing(self._path(len(self.found), ".bin")) as temporary:
            temporary.write_bytes(data)
        write_text(self._path(len(self.found), ".json"), json.dumps(about))
        self.found.append(about)

    def read(self, number: int) -> bytes:
        """The data of a part.

        Raises:
            SrkdError: they cannot be read.
        """
        path = self._path(number, ".bin")
        try:
            return path.read_bytes()
        except OSError as error:
            raise explain_write_error(path, error) from error

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number:06}{suffix}"


def count_done(target: Path) -> int:
    """How many frames are in the parts of an output, whatever job they are of."""
    folder, number, done = name_folder(target), 0, 0
    while (entry := _read(folder / f"{number:06}.json")) is not None:
        number, done = number + 1, done + len(entry.get("packets") or entry.get("durations") or ())
    return done


def name_folder(target: Path) -> Path:
    """The folder of an output's parts."""
    return target.with_name(f".srkd-{target.name[-200:]}")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
