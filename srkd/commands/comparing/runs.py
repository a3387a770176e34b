"""The runs of `srkd compare`: each trained in a process of its own, scored, and kept in `result.json`."""

import contextlib
import contextvars
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from srkd.data import DataSet, Pair, open_data
from srkd.engines import Cluster, Needs
from srkd.errors import SrkdError
from srkd.files import write_text
from srkd.metrics.scores import LARGEST_PSNR
from srkd.recipe import CHANGEABLE, Recipe
from srkd.terminal import progress as progress_of
from srkd.terminal import say, silence, track
from srkd.training.logs import is_locked

RESULT = "result.json"
# Seconds for a run to save and end whose worker was killed.
_PATIENCE = 120.0
# The shares of a run's end in the weights along its curve.
ALPHAS = tuple(step / 10 for step in range(11))


@dataclass
class Measures:
    """What the runs are scored by.

    Args:
        lpips: the LPIPS variant, or `none`.
        curves: whether to score the weights between a run's start and its end.
        tests: benchmark sets by name, each with a hash of its images.
    """

    lpips: str
    curves: bool = False
    tests: dict[str, tuple[str, Sequence[Pair]]] = field(default_factory=dict)
    _held_out: dict[str, Sequence[Pair]] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def __getstate__(self) -> dict[str, Any]:
        # For other processes, which have locks, and read images, of their own.
        return {**self.__dict__, "_lock": None, "_held_out": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def held_out(self, recipe: Recipe) -> Sequence[Pair]:
        """The validation images of a recipe, read once for all that share them."""
        smallest = max(stage.crop for stage in recipe.resolve().values())
        key = repr((recipe.data, recipe.scale, recipe.val, smallest, recipe.skip_bad, recipe.degradation))
        with self._lock:
            if key not in self._held_out:
                data = open_data(recipe.data, recipe.scale, recipe.val, smallest, recipe.skip_bad)
                self._held_out[key] = _degraded(data, recipe).val
            return self._held_out[key]


def _degraded(data: DataSet, recipe: Recipe) -> DataSet:
    if recipe.mix is None:
        return data
    from srkd.training.validation import degrade_validation

    return degrade_validation(data, recipe.mix)


def run_all(runs: Sequence[Recipe], jobs: int, measures: Measures, verbose: bool) -> list[dict[str, Any]]:
    """Each run's result, in the runs' order. After a failure, no further run is started."""
    # Runs that share a terminal would overwrite one another's lines.
    apart = jobs > 1 or not verbose

    def take(number: int, run: Recipe) -> dict[str, Any]:
        say(f"[{number}/{len(runs)}] {Path(run.out).name}")
        result = _result(run, measures, Path(f"{run.out}.log") if apart else None)
        advance(1)
        return result

    with _advancing(len(runs), apart) as advance, ThreadPoolExecutor(jobs) as pool:
        # Each in a copy of this context, so that it is as quiet as the caller asked for.
        futures = [pool.submit(contextvars.copy_context().run, take, *item) for item in enumerate(runs, 1)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_there(cluster: Cluster, runs: Sequence[Recipe], measures: Measures) -> list[dict[str, Any]]:
    """Each run's result, in the runs' order, trained and scored by the workers of a cluster: on as many GPUs
    as its recipe has devices where the cluster has some and the recipe does not ask for the CPU, else on as
    many cores as it has threads. After a failure, runs that train are stopped; they resume.

    Raises:
        SrkdError: a run failed.
    """
    results: dict[int, dict[str, Any]] = {}
    by_gpu = cluster.has_gpus and runs[0].device in ("auto", "cuda")
    devices = max(run.devices for run in runs)
    threads = max(run.threads or 1 for run in runs)
    needs = Needs(threads, devices) if by_gpu else Needs(threads * devices)
    say(f"{len(runs)} runs on the cluster, {cluster.count_slots(needs)} at a time; each prints to RUN.log")
    with _advancing(len(runs), True) as advance:
        for number, found in cluster.run(_run_one, measures, runs, needs):
            if isinstance(found, SrkdError):
                raise found
            results[number] = found
            say(f"[{len(results)}/{len(runs)}] {Path(runs[number].out).name} is done")
            advance(1)
    return [results[number] for number in range(len(runs))]


def _run_one(measures: Measures, run: Recipe) -> dict[str, Any]:
    """A run in a worker. What trained it before, and whose worker was killed, ends first."""
    until = time.monotonic() + _PATIENCE
    while is_locked(Path(run.out)) and time.monotonic() < until:
        time.sleep(0.5)
    try:
        return _result(run, measures, Path(f"{run.out}.log"))
    except KeyboardInterrupt:
        raise SrkdError(f"the run {run.out} was stopped; run the same command again to resume") from None


def share_threads(runs: Sequence[Recipe], jobs: int) -> list[Recipe]:
    """The runs with as many threads as leave the cores to all that train at a time."""
    share = max((os.cpu_count() or 1) // jobs, 1)
    return [replace(run, threads=run.threads or share) if jobs > 1 else run for run in runs]


@contextlib.contextmanager
def _advancing(total: int, shown: bool) -> Iterator[Callable[[float], None]]:
    """Yields a function that counts runs; the bar is shown where the runs do not show their own."""
    with contextlib.ExitStack() as stack:
        with contextlib.nullcontext() if shown else silence():
            advance = stack.enter_context(progress_of("comparing", total))
        yield advance


def identify(recipe: Recipe) -> str:
    """A hash that is equal for recipes that train the same, whatever they are called."""
    settings = asdict(recipe)
    for key in CHANGEABLE | {"control", "stages", "strategy", "steps", "crop", "batch", "teacher"}:
        settings.pop(key)
    stages = {name: asdict(stage) for name, stage in recipe.resolve().items()}
    teacher = None if recipe.control else recipe.teacher
    text = json.dumps([settings, stages, teacher], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_result(recipe: Recipe) -> dict[str, Any]:
    """What earlier calls found of a run; empty where there is nothing."""
    path = Path(recipe.out) / RESULT
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise SrkdError(f"{path} is damaged ({error}); move it away, and the run is scored again") from error


def _result(recipe: Recipe, measures: Measures, log: Path | None) -> dict[str, Any]:
    """Trains and scores a run, or reads what an earlier call has found. The run prints to `log`, or to the
    terminal."""
    from srkd.training.checkpoints import is_finished

    found = read_result(recipe)
    if not found and not is_finished(recipe):
        _train(recipe, log)
    if not found:
        facts = json.loads((Path(recipe.out) / "run.json").read_text(encoding="utf-8"))
        found = {"identity": identify(recipe), "seconds": facts["seconds"], "memory": facts["memory"]}
    lpips, end = measures.lpips, end_weights(recipe)
    if "psnr" not in found or (lpips != "none" and f"lpips:{lpips}" not in found):
        scores = score_weights(end, measures.held_out(recipe), lpips)
        found |= {"psnr": scores["psnr"], "ssim": scores["ssim"]}
        found |= {f"lpips:{lpips}": scores["lpips"]} if lpips != "none" else {}
        _keep(recipe, found)
    for name, (digest, pairs) in measures.tests.items():
        key = _test_key(name, digest, lpips)
        if key not in found:
            found[key] = score_weights(end, pairs, lpips)
            _keep(recipe, found)
    if measures.curves:
        _add_curve(recipe, found, measures)
    return {
        **found,
        "lpips": found.get(f"lpips:{lpips}"),
        "test": {n: found[_test_key(n, digest, lpips)] for n, (digest, _) in measures.tests.items()},
        "curve": found.get(f"curve:{lpips}"),
    }


def _test_key(name: str, digest: str, lpips: str) -> str:
    return f"test:{name}:{digest}:{lpips}"


def _keep(recipe: Recipe, found: Mapping[str, Any]) -> None:
    write_text(Path(recipe.out) / RESULT, json.dumps(found, indent=1) + "\n")


def _train(recipe: Recipe, log: Path | None) -> None:
    """Trains in a separate process, so that its peak memory can be measured."""
    from srkd.training.checkpoints import drop_checkpoints

    file = Path(f"{recipe.out}.yaml")
    # The child resolves the stages, from the same arguments.
    write_text(file, yaml.safe_dump(asdict(recipe), sort_keys=False))
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("w", encoding="utf-8")) if log else None
        # If this process is killed, the run stops too, and saves what it has.
        words = [sys.executable, "-m", "srkd.training", str(file), "--with-parent"]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=output)
        process = stack.enter_context(process)
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()  # Ctrl-C reaches the child too, which saves a checkpoint before it ends
            raise
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise SrkdError(
            f"the run {recipe.out} failed{f', see {log}' if log else ''}; fix the cause and run the same "
            "command again, finished runs are kept"
        )
    file.unlink()
    # At equal steps, none goes further.
    drop_checkpoints(Path(recipe.out))


def end_weights(recipe: Recipe) -> Path:
    """The weights that a run ends with; of a cohort, the first member's."""
    last = list(recipe.resolve())[-1]
    return Path(recipe.out) / f"{last}{'' if recipe.members == 1 else '_0'}.safetensors"


def start_weights(recipe: Recipe) -> str | Path | None:
    """The PSNR-trained weights that a run's perceptual stages start from: those it is given, or those that
    its own stage `pretrain` leaves. None where there are none."""
    if recipe.start is not None:
        return recipe.start
    first, *others = recipe.resolve()
    if first != "pretrain" or not others:
        return None
    return Path(recipe.out) / f"{first}{'' if recipe.members == 1 else '_0'}.safetensors"


def _add_curve(recipe: Recipe, found: dict[str, Any], measures: Measures) -> None:
    """Scores the weights between a run's start and its end, each point kept as soon as it is there."""
    points = found.setdefault(f"curve:{measures.lpips}", [])
    left = [alpha for alpha in ALPHAS if alpha not in [point["alpha"] for point in points]]
    start = start_weights(recipe)
    assert start is not None, "checked before the first run"
    for alpha in track(left, f"curve of {Path(recipe.out).name}", len(left)):
        if alpha == 1:
            scores = {"psnr": found["psnr"], "lpips": found[f"lpips:{measures.lpips}"]}
        else:
            network = between(start, end_weights(recipe), alpha)
            scores = score_network(network, measures.held_out(recipe), measures.lpips)
        points.append({"alpha": alpha, "psnr": scores["psnr"], "lpips": scores["lpips"]})
        _keep(recipe, found)


def between(start: str | Path, end: str | Path, alpha: float) -> Any:
    """The generator (1 - alpha) start + alpha end, re-parameterised kernels merged first.

    Raises:
        UsageError: weights of another package, or of different architectures.
    """
    from srkd.commands.interpolate import check_same_config
    from srkd.models.fusing import merge
    from srkd.weights.store import load_own_generator

    near, far = load_own_generator(start), load_own_generator(end)
    check_same_config(near.config, far.config, start, end)
    near, far = merge(near), merge(far)
    weights = near.state_dict()
    for key, value in far.state_dict().items():
        if value.is_floating_point():
            value.copy_(weights[key].lerp(value, alpha))
    return far


def score_weights(weights: str | Path, pairs: Sequence[Pair], lpips: str, scale: int = 4) -> dict[str, Any]:
    """PSNR, SSIM and LPIPS of weights, means over images; LPIPS is None without a variant."""
    from srkd.commands.evaluating.scoring import score
    from srkd.upscaling.opening import open_runner

    return _named(score(open_runner(weights, "cpu", scale), pairs, "y-crop", lpips), lpips)


def score_network(network: Any, pairs: Sequence[Pair], lpips: str) -> dict[str, Any]:
    """The same of a generator that lies in no file."""
    from srkd.commands.evaluating.scoring import score
    from srkd.runtimes import Settings
    from srkd.runtimes.torch import open_runner

    return _named(score(open_runner(network, "blend", Settings("cpu")), pairs, "y-crop", lpips), lpips)


def _named(found: Mapping[str, Any], lpips: str) -> dict[str, Any]:
    mean = found["mean"]
    psnr = [min(image["psnr"], LARGEST_PSNR) for image in found["images"]]
    return {"psnr": sum(psnr) / len(psnr), "ssim": mean["ssim"], "lpips": mean.get(lpips)}
