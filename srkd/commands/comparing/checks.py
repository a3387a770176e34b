"""What `srkd compare` checks before the first step: that every method can be trained, scored and written."""

import hashlib
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from srkd.commands.comparing.runs import (
    Measures,
    end_weights,
    identify,
    read_result,
    score_weights,
    start_weights,
)
from srkd.data import Pair
from srkd.errors import SrkdError, UsageError, choose, first_line
from srkd.files import StrPath, write_text
from srkd.recipe import Recipe
from srkd.terminal import note, say, silence, track


def open_measures(lpips: str, curves: bool, test: Sequence[StrPath] | StrPath | None, scale: int) -> Measures:
    """The measures of a comparison: its LPIPS network loaded, its benchmark sets read.

    Raises:
        UsageError, SrkdError: no such variant or set, an image that cannot be read, weights that are missing.
    """
    from srkd.commands.evaluate import open_benchmark
    from srkd.metrics import LPIPS_VARIANTS

    choose("LPIPS variant", lpips, (*LPIPS_VARIANTS, "none"))
    if curves and lpips == "none":
        raise UsageError("--curves are of PSNR and LPIPS; give --lpips a variant")
    if lpips != "none":
        from srkd.metrics.perceptual import load_lpips

        load_lpips(lpips)
    tests: dict[str, tuple[str, Sequence[Pair]]] = {}
    for folder in [test] if isinstance(test, str | Path) else test or []:
        name = Path(folder).resolve().name if str(folder) != "embedded" else "embedded"
        if name in tests:
            raise UsageError(f"two benchmark sets are named {name}; rename one")
        _, pairs = open_benchmark(folder, scale)
        read = list(pairs)
        digest = hashlib.sha256()
        for pair in read:
            digest.update(pair.lr.tobytes() + pair.hr.tobytes())
        tests[name] = digest.hexdigest()[:16], read
    return Measures(lpips, curves, tests)


def check_writable(folder: Path) -> None:
    """Raises SrkdError unless files can be written into a folder, which is made for that and removed."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    probe = folder / "compare.json.try"
    try:
        write_text(probe, "")
        probe.unlink()
    finally:
        for path in missing:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def check_runs(runs: Mapping[str, Sequence[Recipe]], measures: Measures, jobs: int) -> dict[str, Any]:
    """Checks all that is still to do, and says what it will take.

    Args:
        runs: the runs of each method and control, one for each seed.
        measures: what they are scored by.
        jobs: how many are trained at a time.

    Returns:
        The scores of bicubic enlargement, by the same measures: they show that scoring works.

    Raises:
        UsageError, SrkdError: naming every method that cannot be trained or compared, and why.
    """
    from srkd.training.checkpoints import check_folder

    everything = [run for each in runs.values() for run in each]
    for run in everything:
        check_folder(run)
        found = read_result(run)
        if found and found["identity"] != identify(run):
            raise UsageError(f"{run.out} holds a run of another recipe; choose another --out")
    left = {label: [run for run in each if not _is_done(run)] for label, each in runs.items()}
    left = {label: each for label, each in left.items() if each}
    costs = rehearse({label: each[0] for label, each in left.items()}, measures.curves)
    base = everything[0]
    say(f"scoring bicubic on {len(measures.held_out(base))} validation images")
    scores = score_weights("bicubic", measures.held_out(base), measures.lpips, base.scale)
    tests = {
        name: score_weights("bicubic", pairs, measures.lpips, base.scale)
        for name, (_, pairs) in measures.tests.items()
    }
    if costs:
        _announce(costs, left, jobs, Path(base.out).parent)
    return {**scores, "test": tests}


def _is_done(run: Recipe) -> bool:
    from srkd.training.checkpoints import is_finished

    return bool(read_result(run)) or is_finished(run)


def rehearse(methods: Mapping[str, Recipe], curves: bool) -> dict[str, tuple[float, int, int]]:
    """Sets every method up as its training does, and times a step of each stage. Gives hours, bytes while a
    run is trained, and bytes that it leaves."""
    costs, failures = {}, []
    if methods:
        say(f"checking {len(methods)} methods and controls")
    for label, recipe in track(methods.items(), "checking", len(methods)):
        try:
            with silence():
                costs[label] = _measure(recipe)
                if curves:
                    _check_curve(recipe)
        except SrkdError as error:
            failures.append((label, error))
    if failures:
        kind = UsageError if all(isinstance(error, UsageError) for _, error in failures) else SrkdError
        reasons = "; ".join(f"{label}: {first_line(error)}" for label, error in failures)
        raise kind(f"{len(failures)} of {len(methods)} methods and controls cannot be trained: {reasons}")
    return costs


def _measure(recipe: Recipe) -> tuple[float, int, int]:
    from srkd.training.costs import measure_stage, opened

    # Other processes would start this program over.
    with opened(replace(recipe, devices=1, nodes=1)) as job:
        stages = [measure_stage(job, name, 1) for name in job.stages]
    hours = sum(stage.hours for stage in stages)
    # The last weights of each stage and the best ones.
    kept = 2 * sum(stage.weights_bytes for stage in stages)
    checkpoints = (recipe.keep + 1) * max(stage.state_bytes for stage in stages)
    return hours, checkpoints, kept


def _check_curve(recipe: Recipe) -> None:
    """Raises UsageError unless there are weights to start a curve from, of the network that is trained."""
    from srkd.commands.interpolate import check_same_config
    from srkd.training.setup import start_network
    from srkd.weights.store import load_own_generator

    if start_weights(recipe) is None:
        raise UsageError(
            "--curves need a PSNR-trained start: give `start`, or have a stage `pretrain` before others"
        )
    if recipe.start is not None:
        near, far = load_own_generator(recipe.start), start_network(recipe, 0)
        check_same_config(near.config, far.config, recipe.start, end_weights(recipe))


def _announce(
    costs: Mapping[str, tuple[float, int, int]], left: Mapping[str, Sequence[Recipe]], jobs: int, folder: Path
) -> None:
    """Says how long the runs will take and what they will write."""
    hours = sum(costs[label][0] * len(each) for label, each in left.items())
    kept = sum(costs[label][2] * len(each) for label, each in left.items())
    needed = kept + jobs * max(working for _, working, _ in costs.values())
    count = sum(map(len, left.values()))
    at_a_time = f", {jobs} at a time" if jobs > 1 else ""
    say(
        f"{count} runs to train{at_a_time}: about {_duration(hours / min(jobs, count))}, validation and "
        f"scoring apart, and {math.ceil(needed / 2**20):,} MiB in {folder}"
    )
    place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed:
        note(f"only {free // 2**20:,} MiB are free in {place}", "warning")


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"
