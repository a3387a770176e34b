"""What an output folder's files were made from, so that a job that was interrupted can resume."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from srkd.files import explain_write_error, is_file
from srkd.images.results import JOURNAL, read_journal
from srkd.remote import available, find_mirror
from srkd.stores import send


class Job(NamedTuple):
    """An image, and the file that it becomes."""

    source: Path
    target: Path


class Journal:
    """What a folder's outputs were made from: a line each, with the source's size and time of change.

    Args:
        folder: the folder of the outputs.
        settings: what the outputs depend on beside their sources.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]):
        self.folder, self.settings = folder, settings
        self.path = folder / JOURNAL
        if find_mirror(self.path) is not None:
            self._collect()
        self.sent = self.path.stat().st_size if is_file(self.path) else 0
        self.made, whole = read_journal(folder)
        # Written first, where a kill cut the last line short.
        self.cut = "" if whole else "\n"

    def _collect(self) -> None:
        """Puts the parts that lie in a store together."""
        parts = sorted(self.folder.glob(f"{self.path.stem}-*.jsonl"))
        if not parts:
            return
        with available(*parts):
            self.path.write_bytes(b"".join(part.read_bytes() for part in parts))

    def holds(self, job: Job) -> bool:
        """Whether the target is there, made from this source with these settings."""
        entry = self._entry(job)
        return bool(entry["source"]) and is_file(job.target) and self.made.get(self._name(job)) == entry

    def began(self, job: Job) -> bool:
        """Whether a job with these settings was begun, and may have written its target before it was killed,
        or before that was noted."""
        entry = self.made.get(self._name(job), {})
        return bool(entry.get("begun")) and entry.get("settings") == self.settings

    def begin(self, jobs: Sequence[Job]) -> None:
        """Notes that jobs begin. Raises as `add`."""
        self._write([{"target": self._name(job), "settings": self.settings, "begun": True} for job in jobs])
        self.publish()

    def publish(self) -> None:
        """Puts what was noted since the last time into the store where the outputs go, if they go to one: a
        file each time, for stores do not append. Raises as `add`."""
        mirror = find_mirror(self.path)
        if mirror is None or not self.path.is_file():
            return
        noted = self.path.read_bytes()
        if len(noted) > self.sent:
            part = self.path.with_name(f"{self.path.stem}-{time.time_ns():020d}.jsonl")
            part.write_bytes(noted[self.sent :])
            send(part, mirror.locate(part))
            part.unlink()
            self.sent = len(noted)

    def add(self, job: Job) -> None:
        """Notes that a job is done.

        Raises:
            SrkdError: the journal cannot be written.
        """
        self._write([self._entry(job)])

    def _write(self, entries: Sequence[dict[str, Any]]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(self.cut + "".join(json.dumps(entry) + "\n" for entry in entries))
        except OSError as error:
            raise explain_write_error(self.path, error) from error
        self.cut = ""

    def _name(self, job: Job) -> str:
        return job.target.relative_to(self.folder).as_posix()

    def _entry(self, job: Job) -> dict[str, Any]:
        try:
            facts = job.source.stat()
            source = {"size": facts.st_size, "changed": facts.st_mtime_ns}
        except OSError:  # gone, or a link that loops: told when it is read
            source = {}
        return {"target": self._name(job), "source": source, "settings": self.settings}
