"""Times of networks on another device, as the script of `srkd profile` writes them. Imports no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srkd.errors import SrkdError, UsageError
from srkd.search.latency import Measured


@dataclass(frozen=True)
class Profile:
    """A device's times.

    Args:
        machine: the device, in words.
        runtime: what ran there.
        precision: of the files.
        threads: of its CPU; None for all cores.
        scale: of the networks.
        times: for each network and LR size `architecture`, `options`, `size`, `seconds`, `quartiles`.
    """

    machine: str
    runtime: str
    precision: str
    threads: int | None
    scale: int
    times: list[dict[str, Any]]

    def measured(self, scale: int) -> list[Measured]:
        """What the latency model is fitted to.

        Raises:
            UsageError: the profile is of another scale.
        """
        from srkd.search.candidates import measure_candidate

        if self.scale != scale:
            raise UsageError(
                f"the profile was made for x{self.scale}; make one for x{scale}: srkd profile KIT --scale "
                f"{scale}"
            )
        known = {
            entry["file"]: measure_candidate(entry["architecture"], entry["options"], scale)
            for entry in self.times
        }
        return [
            Measured(known[entry["file"]], entry["size"][0] * entry["size"][1], entry["seconds"])
            for entry in self.times
        ]


def read_profile(path: Path) -> Profile:
    """Reads a device.json.

    Raises:
        UsageError: there is no such file, or it is something else.
        SrkdError: it is damaged.
    """
    if not path.is_file():
        raise UsageError(f"there is no profile {path}; srkd profile KIT makes what writes one on a device")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != 1:
            raise UsageError(f"{path} is of format {found['format']}, which this srkd does not read")
        facts = {key: found[key] for key in ("machine", "runtime", "precision", "threads", "scale", "times")}
        if not all(
            {"file", "architecture", "options", "size", "seconds"} <= entry.keys() for entry in facts["times"]
        ):
            raise KeyError("times")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SrkdError(
            f"{path} is no profile of srkd, or is damaged; run profile.py on the device again"
        ) from error
    if not facts["times"]:
        raise SrkdError(f"{path} holds no times; run profile.py on the device again")
    return Profile(**facts)
