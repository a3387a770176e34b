"""`srkd extend`: continual learning, a student for a new domain that keeps the old one."""

import json
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from srkd.errors import UsageError
from srkd.files import replacing, write_text
from srkd.recipe import Recipe
from srkd.terminal import console


def extend(
    weights: str,
    data: str,
    *,
    old: str | None = None,
    replay: str | None = None,
    taps: Literal["outputs", "all"] = "outputs",
    weight: float = 0.3,
    out: str = "runs/extend",
    steps: int = 2000,
    rate: float = 2e-4,
    batch: int = 16,
    crop: int = 96,
    seed: int = 0,
    threads: int | None = None,
) -> dict[str, Any]:
    """Adapt a student to a new domain without forgetting the old, and report what it forgot.

    Trains twice at equal budget: with the loss `forgetting`, by which a frozen copy of the student teaches it
    on the new domain's images, and without. Both are scored on both domains. Run it again to go on.

    Args:
        weights: the student, weights of this package or a shipped name.
        data: images of the new domain, in the forms of training data.
        old: images of the old domain to score on, in the forms of `srkd evaluate`; when not given, those that
            `replay` sets aside for validation, or else the photographs that scikit-image installs.
        replay: images of the old domain to train on too, as often as on the new.
        taps: what must stay alike: `outputs`, or `all` for features too.
        weight: of the loss `forgetting`; from about 1 on, where both pull alike, nothing new is learned.
        out: folder; the result is `extended.safetensors`, the two runs lie in `with` and `without`.
        steps: optimiser steps of each.
        rate: learning rate at the start.
        batch: crops per step.
        crop: side of the HR crops, in pixels.
        seed: decides the order of the data.
        threads: CPU threads; all cores when not given.

    Returns:
        PSNR in dB (`y-crop`) by `before`, `without` and `with`, on the domains `old` and `new`.

    Raises:
        UsageError: no such weights or data, or weights of another package.
        SrkdError: training failed.
    """
    from srkd.commands.evaluate import open_benchmark, score
    from srkd.data import open_data
    from srkd.training.checkpoints import is_finished
    from srkd.training.run import run
    from srkd.upscaling.opening import open_runner
    from srkd.weights.store import load_generator

    student = load_generator(weights)
    if not hasattr(student, "config"):
        raise UsageError(f"{weights} is not of this package; extend adapts students of srkd")
    scale = int(student.scale)  # type: ignore[arg-type]
    new = open_data(data, scale, smallest=crop)
    if old is None and replay is not None:
        remembered = open_data(replay, scale, smallest=crop).val
    else:
        remembered = list(open_benchmark(old or "embedded", scale)[1])
    folder = Path(out)
    common: dict[str, Any] = {"data": data, "start": weights, "replay": replay, "scale": scale, "seed": seed}
    common |= {"strategy": "extend", "steps": steps, "batch": batch, "crop": crop, "threads": threads}
    forgetting = {"weight": weight, "options": {"taps": taps}}
    results: dict[str, dict[str, float]] = {}
    models = {"before": weights}
    for name, control in (("without", True), ("with", False)):
        stages = {"extend": {"rate": rate, "losses": {"forgetting": forgetting}}}
        recipe = Recipe(**common, stages=stages, control=control, out=str(folder / name))
        finished = folder / name / "extend.safetensors"
        console.rule(f"{name} the loss against forgetting")
        if not is_finished(recipe):
            run(recipe, resume=True)
        models[name] = str(finished)
    for name, model in models.items():
        upscaler = open_runner(model, "cpu", scale)
        results[name] = {
            domain: score(upscaler, pairs, "y-crop", "none")["mean"]["psnr"]
            for domain, pairs in (("old", remembered), ("new", new.val))
        }
    table = Table("", "old domain, dB", "forgotten", "new domain, dB", "gained")
    start = results["before"]
    for name, found in results.items():
        gaps = [
            f"{found[domain] - start[domain]:+.2f}" if name != "before" else "" for domain in ("old", "new")
        ]
        table.add_row(name, f"{found['old']:.2f}", gaps[0], f"{found['new']:.2f}", gaps[1])
    console.print(table)
    target = folder / "extended.safetensors"
    with replacing(target) as temporary:
        temporary.write_bytes(Path(models["with"]).read_bytes())
    facts = {
        "weights": Path(weights).name,
        "taps": taps,
        "weight": weight,
        "steps": steps,
        "replay": replay is not None,
    }
    write_text(folder / "report.json", json.dumps({**facts, "psnr": results}, indent=1) + "\n")
    console.print(f"-> {target}")
    return results
