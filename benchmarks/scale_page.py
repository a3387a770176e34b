"""The words of benchmarks/scale.md, around figures from benchmarks/results/scale.json."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import fill
from typing import Any

import numpy as np

from benchmarks.scale import (
    COUNTS,
    PREPARE_PIXELS,
    STUDENT,
    TEACHER,
    UPSCALE_PIXELS,
    driver_seconds,
    stored_bytes,
)

# The largest file of ext4 with blocks of 4 KiB.
EXT4_FILE = 16 * 2**40
JOBS = {"upscale": "upscale", "prepare": "prepare with a teacher"}


def core_seconds(content: Mapping[str, Any], job: str) -> float:
    """Mean seconds of a core for a photograph."""
    seconds = content["measured"]["seconds"]
    kinds = ("upscale",) if job == "upscale" else ("read", "teacher")
    return float(sum(np.mean(seconds[kind]) for kind in kinds))


def gpu_seconds(content: Mapping[str, Any], job: str) -> float:
    """Seconds of the assumed GPU for a photograph's network, from its multiply-accumulates at 1280x720."""
    flops, facts = (
        2 * content["measured"]["macs"][STUDENT if job == "upscale" else TEACHER],
        content["assumed"],
    )
    pixels = 16 * UPSCALE_PIXELS if job == "upscale" else PREPARE_PIXELS
    return flops * pixels / (1280 * 720) / (facts["gpu_tflops"][0] * 1e12 * facts["gpu_share"][0])


def render(content: Mapping[str, Any]) -> str:
    """The page."""
    sources = [f"- {value:g}: {text}." for value, text in content["assumed"].values()]
    parts = [
        _head(content),
        _costs(content),
        _middle(),
        _simulated(content),
        _breaks(content),
        "\n".join(sources),
    ]
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))


def _wrap(*paragraphs: str) -> str:
    """Paragraphs, and items of a list, of lines as long as the others here."""
    filled = [
        fill(text, 110, subsequent_indent="  " * text.startswith("- "), break_on_hyphens=False)
        for text in paragraphs
    ]
    joined = filled[0]
    for before, text in pairwise(filled):
        joined += ("\n" if before.startswith("- ") and text.startswith("- ") else "\n\n") + text
    return joined


def _costs(content: Mapping[str, Any]) -> str:
    facts = {key: value for key, (value, _) in content["assumed"].items()}
    heads = ["photographs", "job", "core hours", "dollars, cores", "GPU hours, assumed", "dollars, GPUs"]
    rows = []
    for count in COUNTS:
        for job, title in JOBS.items():
            cores, gpus = (count * seconds(content, job) / 3600 for seconds in (core_seconds, gpu_seconds))
            size = count * stored_bytes(content["measured"], job)
            values = [cores, cores * facts["core_dollars"], gpus, gpus * facts["gpu_dollars"]]
            values += [size / 1e12, size / 1e9 * facts["store_dollars"]]
            rows.append([_power(count), title, *map(_count, values)])
    return _table([*heads, "TB written", "dollars a month to keep"], rows)


def _simulated(content: Mapping[str, Any]) -> str:
    heads = [
        "job",
        "workers",
        "photographs/s",
        "efficiency",
        "done in vain",
        "tail",
        "10^6 take",
        "10^9 take",
    ]
    rows = []
    for row in content["simulated"]:
        takes = [_duration(count / row["rate"] / 3600 + row["tail"]) for count in COUNTS]
        shares = [f"{row['efficiency']:.0%}", f"{row['lost']:.2%}", f"{row['tail'] * 3600:.0f} s"]
        rows.append([row["job"], f"{row['workers']:,}", f"{row['rate']:,.1f}", *shares, *takes])
    return _table(heads, rows)


def _head(content: Mapping[str, Any]) -> str:
    measured, machine = content["measured"]["seconds"], content["measured"]["machine"]
    spread = {
        key: f"{np.mean(values):.2f} s ({min(values):.2f} to {max(values):.2f})"
        for key, values in measured.items()
    }
    return _wrap(
        "# A million photographs, and a billion",
        "`python -m benchmarks.scale` measures, simulates and writes this page; every figure is from "
        "[`results/scale.json`](results/scale.json).",
        f"Measured are processor seconds of one thread, over {len(measured['upscale'])} photographs, on "
        f"{machine['processor']}:",
        f"- `srkd upscale` of 1 megapixel to 16 with `{STUDENT}`, decoding and encoding included: "
        f"{spread['upscale']};",
        f"- `srkd prepare` of 2 megapixels: reading, hashing and LR {spread['read']}, the teacher "
        f"`{TEACHER}` "
        f"{spread['teacher']}.",
        "No GPU was measured for this page. Its columns count the network's multiply-accumulates alone, at a "
        "share of an L4's peak that is a guess: decoding and encoding on cores, of which an upscaling GPU "
        "needs "
        "several, come on top.",
    )


def _middle() -> str:
    return _wrap(
        "TB written: JPEG at quality 95, and for prepare HR, LR and the teacher's 8-bit output, "
        "uncompressed.",
        "## Workers, failures and stragglers",
        "A simulation of `--engine ray`, event by event, with the measured times: one driver that hands out "
        "tasks, and through which the pixels of prepare pass; workers that are lost and replaced, and some "
        "that "
        "are slow (all assumed, see below). Efficiency is useful time of workers over all of it, in a job "
        "of 20 "
        "tasks or more for each worker; the tail is when some already have nothing to do.",
    )


def _breaks(content: Mapping[str, Any]) -> str:
    measured, facts = content["measured"], {key: value for key, (value, _) in content["assumed"].items()}
    driver = {job: driver_seconds(measured, job) for job in JOBS}
    core = {job: core_seconds(content, job) for job in JOBS}
    most = {job: round(core[job] / driver[job], -1) for job in JOBS}
    lost = next(row["lost"] for row in content["simulated"] if row["workers"] == 100)
    header, noted = measured["driver"]["header"], measured["driver"]["journal_bytes"]
    entry, size = measured["manifest_bytes"], stored_bytes(measured, "prepare")
    money = 1e9 * core["upscale"] / 3600 * facts["core_dollars"]
    month = stored_bytes(measured, "upscale") * facts["store_dollars"]
    return _wrap(
        "## What breaks first",
        f"- **10^3**: nothing. One core takes {_duration(1e3 * core['upscale'] / 3600)}.",
        f"- **10^4**: patience, {_duration(1e4 * core['upscale'] / 3600)} on one core. `--engine ray` "
        "spreads "
        "images over cores and machines; a killed job resumes.",
        f"- **10^5**: a lost worker, and a killed command. With 100 workers {lost:.2%} of the work is done "
        "in "
        "vain, for a worker costs the image that it was at. A kill between writing an image and noting it "
        "made "
        "the next try refuse to replace it; now images are noted before they begin too.",
        f"- **10^6** of upscale: the start. The driver opens each image for its size ({header * 1e6:.0f} µs, "
        f"{_duration(1e6 * header / 3600)} in all), and in a store each is a request "
        f"({1e6 * facts['get_dollars']:.2f} dollars to read 10^6, {1e6 * facts['put_dollars']:.0f} to "
        "write). "
        f"The journal has {noted:.0f} MB. All of it holds.",
        f"- **10^6** of prepare: the way to the driver, which writes the set. {size / 1e6:.1f} MB for each "
        "photograph "
        f"pass it, {driver['prepare'] * 1e3:.0f} ms at 10 Gbit/s, so no more than {most['prepare']:,.0f} "
        "workers "
        f"are of use. At {EXT4_FILE / (3 * PREPARE_PIXELS) / 1e6:.1f}·10^6 the file `hr.u8` reaches what "
        "ext4 "
        "allows, 16 TiB. Not solved: pack several sets, by folder, with a command each.",
        f"- **10^7** of upscale: the driver. It spends {driver['upscale'] * 1e3:.1f} ms on an image, so "
        "more than "
        f"{most['upscale']:,.0f} workers wait for it. Not solved: run a command for each folder of some "
        "million, on "
        "the same cluster; Ray shares the workers. Tasks of several images would be the next step.",
        "- **10^8**: the memory of one command. The list of images, and a manifest of "
        f"{1e8 * entry / 1e9:.0f} GB of "
        "JSON, are too much; folders again.",
        f"- **10^9**: money. {_count(money)} dollars on cores to upscale, and {_count(month)} a month to "
        "keep the "
        "results. Nothing in srkd changes that but the network: a smaller student, or fewer photographs.",
        "## What is assumed",
    )


def _count(value: float) -> str:
    """To two or three digits, with thousands."""
    if value < 100:
        return f"{value:.2g}"
    digits = 2 - int(np.floor(np.log10(value)))
    return f"{round(value, digits):,.0f}"


def _power(value: int) -> str:
    return f"10^{round(np.log10(value))}"


def _duration(hours: float) -> str:
    if hours < 1.5:
        return f"{hours * 60:.0f} min" if hours * 60 >= 1.5 else f"{hours * 3600:.0f} s"
    if hours < 72:
        return f"{hours:.0f} h"
    return f"{hours / 24:,.0f} days" if hours < 24 * 730 else f"{hours / 8766:,.0f} years"
