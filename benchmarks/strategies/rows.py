"""The rows of the table: which weights are scored, and where they are."""

import json
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from srkd.errors import SrkdError, UsageError
from srkd.files import hash_file
from srkd.weights.catalogue import find_weights, list_shipped

START, STUDENT, GAN_TEACHER = "srgan_student_lite_psnr", "srgan_student_lite_gan", "srgan_teacher_gan"
SHIPPED = ("srgan_teacher_psnr", GAN_TEACHER, START, STUDENT)
# The stages with a row each, and their wording in the claims.
STAGES = {"transfer": "after the transfer stage", "finetune": "after fine-tuning"}
LAST_STAGE = list(STAGES)[-1]

hash_weights = cache(partial(hash_file, digits=16))


class Row(NamedTuple):
    """A row: its name, the weights of each seed, the stage if it has several, and the name of its control."""

    name: str
    weights: tuple[Path | str, ...]
    stage: str | None = None
    control: str | None = None

    @property
    def title(self) -> str:
        return f"{self.name}, {self.stage}" if self.stage else self.name

    @property
    def keys(self) -> list[str]:
        """Cache keys of the weights: hashes of the files."""
        return [path if isinstance(path, str) else hash_weights(path) for path in self.weights]


def read_runs(folder: Path) -> list[Row]:
    """The rows of a folder that `srkd compare` or `--pack` wrote.

    Raises:
        UsageError: the folder is missing or incomplete.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give the output of `srkd compare` or --pack")
    file = folder / "compare.json"
    if not file.is_file():
        raise UsageError(f"{folder} holds no compare.json; give the output of a finished `srkd compare`")
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
        found = [(row["method"], row["control"]) for row in summary["rows"]]
        seeds = int(summary["seeds"])
    except (ValueError, KeyError, TypeError) as error:
        raise SrkdError(f"{file} is damaged or was not written by `srkd compare`") from error
    rows = [row for name, control in found for row in find_stages(folder, name, control, seeds)]
    if not rows:
        raise UsageError(f"{folder} holds no weights")
    return rows


def find_stages(folder: Path, name: str, control: str | None, seeds: int) -> list[Row]:
    """The rows of one method, one for each stage that it has weights of."""
    rows = []
    for stage in STAGES:
        paths = tuple(folder / f"{name}-{seed}" / f"{stage}.safetensors" for seed in range(seeds))
        missing = [path for path in paths if not path.is_file()]
        if not missing:
            rows.append(Row(name, paths, stage, control))
        elif len(missing) < seeds:
            raise UsageError(f"there is no {missing[0]}, which compare.json lists")
    if not rows:
        raise UsageError(f"{folder} holds no weights of {name}, which compare.json lists")
    return rows


def find_rows(runs: Path, dat: Path | None) -> tuple[list[Row], dict[str, str]]:
    """All rows in table order, and reasons for those left out."""
    rows, left_out = [Row("bicubic", ("bicubic",))], {}
    if dat is None:
        left_out["DAT-light"] = "--dat was not given"
    else:
        rows.append(Row("DAT-light", (find_weights(dat),)))
    for name in SHIPPED:
        if name in list_shipped():
            rows.append(Row(name, (find_weights(name),)))
        else:
            left_out[name] = "it is not among the shipped weights"
    return rows + read_runs(runs), left_out
