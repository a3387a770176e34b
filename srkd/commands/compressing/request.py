"""What was asked of `srkd compress`, checked, and what is shipped that would do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srkd.commands.compressing.teacher import Kind
from srkd.errors import UsageError
from srkd.files import StrPath
from srkd.search.budgets import Budget
from srkd.search.choosing import Row, Search
from srkd.search.profiles import Profile
from srkd.search.timing import Place
from srkd.weights.catalogue import find_weights, list_shipped, read_header


@dataclass
class Request:
    """What was asked for, checked.

    Args:
        teacher: as it was given.
        data, val: photographs.
        budgets: what the student may cost.
        place: where it will run.
        profile: times of another device, and its file.
        hours: for everything but the search.
        degradation: as it was given; None to find out.
        kind: of the teacher; None to find out.
        discriminator: the teacher's, if one was given.
        architectures: of students; all when None.
        control, race, fresh: whether to train a control, to race candidates, to start from fresh weights.
        seed: decides crops and weights.
        device: where to train.
        scale: what was asked for; None for the teacher's.
    """

    teacher: StrPath
    data: StrPath
    val: StrPath | None
    budgets: list[Budget]
    place: Place
    profile: Profile | None
    hours: float
    degradation: dict[str, Any] | str | None
    kind: Kind | None
    discriminator: StrPath | None
    architectures: list[str] | None
    control: bool
    race: bool
    fresh: bool
    seed: int
    device: str
    scale: int | None


def find_shipped(found: Search, scale: int) -> dict[str, Row]:
    """The shipped weights whose networks are within the budgets, by name."""
    own = {}
    for name, entry in list_shipped().items():
        if entry["scale"] != scale:
            continue
        config = dict(read_header(find_weights(name)).get("config", {}))
        config.pop("scale", None)
        for row in found.rows:
            if row.excess <= 0 and config == {"name": row.candidate.architecture, **row.candidate.options}:
                own[name] = row
    return own


def check_scale(path: Path, wanted: int | None) -> int:
    from srkd.weights.store import load_generator

    scale = load_generator(path).scale
    if scale not in (2, 3, 4):
        raise UsageError(f"{path.name} is x{scale}, and students are x2, x3 or x4")
    if wanted is not None and wanted != scale:
        raise UsageError(
            f"{path.name} is x{scale}, and --scale asks for x{wanted}; a student has its teacher's scale"
        )
    return scale
