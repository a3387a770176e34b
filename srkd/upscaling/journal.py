"""What an output folder's files were made from, so that a job that was interrupted can resume."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from srkd.files import explain_write_error, is_file
from srkd.images.results import JOURNAL, read_journal


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
        self.made, whole = read_journal(folder)
        # Written first, where a kill cut the last line short.
        self.cut = "" if whole else "\n"

    def holds(self, job: Job) -> bool:
        """Whether the target is there, made from this source with these settings."""
        entry = self._entry(job)
        return bool(entry["source"]) and is_file(job.target) and self.made.get(self._name(job)) == entry

    def add(self, job: Job) -> None:
        """Notes that a job is done.

        Raises:
            SrkdError: the journal cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(self.cut + json.dumps(self._entry(job)) + "\n")
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
