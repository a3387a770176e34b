"""Checks that the tables of README.md, benchmarks/README.md and the cards are what the committed files say.

    python benchmarks/figures.py

Each table is computed again from the results in this folder; a row that is missing or differs is printed.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from srkd.errors import SrkdError
from srkd.metrics.intervals import paired_interval
from srkd.weights.catalogue import list_shipped
from srkd.weights.cost import count_cost

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import make_parser, run_script

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"

Rows = Iterator[list[str]]


def load(path: str) -> Any:
    return json.loads((HERE / path).read_text(encoding="utf-8"))


def readme_scores() -> Rows:
    """The table at the end of README.md."""
    yield ["bicubic", "", *scores("bicubic", "Set5", "Set14")]
    notes = {"span_s_psnr": ", the default", "span_xs_psnr": ", for browsers and phones"}
    for name in ("span_s_psnr", "span_s_gan", "span_xs_psnr", "span_xs_gan"):
        yield [f"`{name}`{notes.get(name, '')}", parameters(name), *scores(name, "Set5", "Set14")]


def shipped() -> Rows:
    """Shipped weights; the column on their training is not checked."""
    yield ["bicubic", ".*", "", *scores("bicubic", "Set5", "Set14")]
    for name, entry in list_shipped().items():
        label = f"`{name}` (default)" if entry.get("default") else f"`{name}`"
        yield [label, ".*", parameters(name), *scores(name, "Set5", "Set14")]


def scores(name: str, *sets: str) -> list[str]:
    means = [load(f"scores/{name}-{part}.json")["mean"] for part in sets]
    return [f"{mean['psnr']:.2f} dB, {mean['st-lpips-alex']:.3f}" for mean in means]


def parameters(name: str) -> str:
    return f"{count_cost(name).parameters:,}"


def strategies() -> Rows:
    """Set5 after each stage; differences are of the same stage."""
    rows = {(row["row"], row["stage"]): row for row in load("strategies/table.json")["rows"]}
    start = rows["srgan_student_lite_psnr", None]["scores"]["Set5"]
    yield ["before", "", f"{start['psnr']['mean']:.2f}", f"{start['st-lpips-alex']['mean']:.3f}", ""]
    for (name, stage), row in rows.items():
        if stage is not None:
            found = row["scores"]["Set5"]
            values = [spread(found[key], digits) for key, digits in (("psnr", 2), ("st-lpips-alex", 3))]
            gaps = row.get("difference", {}).get("Set5")
            gap = f"{width(gaps['psnr'], 2)} dB, {width(gaps['st-lpips-alex'], 4)}" if gaps else ""
            yield [f"`{name}`", {"transfer": "transfer", "finetune": "fine-tuned"}[stage], *values, gap]


def half_way() -> Rows:
    """gan2gan after fine-tuning against its undistilled control after the transfer stage, on every set."""
    result = load("strategies/table.json")
    rows = {(row["row"], row["stage"]): row["scores"] for row in result["rows"]}
    method, control = rows["gan2gan", "finetune"], rows["control_gan2g_al", "transfer"]
    for name in result["sets"]:
        gaps = [
            paired_interval(method[name][key]["seeds"], control[name][key]["seeds"])
            for key in ("psnr", "st-lpips-alex")
        ]
        yield [name, f"{width(gaps[0], 2)} dB", width(gaps[1], 4)]


def spread(found: Mapping[str, Any], digits: int) -> str:
    return f"{found['mean']:.{digits}f} ± {found['std']:.{digits}f}"


def width(gap: Mapping[str, Any], digits: int) -> str:
    return f"{gap['mean']:+.{digits}f} ± {gap['half_width']:.{digits}f}"


def comparison(folder: str) -> Rows:
    """A table of `srkd compare`."""
    for row in load(f"{folder}/compare.json")["rows"]:
        keys = (("psnr", 2), ("ssim", 4), ("lpips", 4))
        found = [
            f"{np.mean(row[key]):.{digits}f} ± {np.std(row[key], ddof=1):.{digits}f}" for key, digits in keys
        ]
        gaps = row.get("difference")
        found += [width(gaps["psnr"], 3), width(gaps["lpips"], 4)] if gaps else ["", ""]
        found += [f"{np.mean(row['seconds']) / 60:.1f}", f"{np.max(row['memory']) / 2**30:.2f} GiB"]
        yield [row["method"], *found]


def trials() -> Rows:
    """Each trial of the recipe against the control, whether or not it distils; the column on what it changes
    is not checked. Times are the shortest of the seeds': other work only adds to them."""
    rows = {row["method"]: row for row in load("recipe/compare.json")["rows"]}
    control = rows["control"]
    for name, row in rows.items():
        gaps = [paired_interval(row[key], control[key]) for key in ("psnr", "lpips")]
        differences = ["", ""] if row is control else [width(gaps[0], 3), width(gaps[1], 4)]
        cost = min(row["seconds"]) / min(control["seconds"])
        yield [f"`{name}`", ".*", f"{np.mean(row['psnr']):.2f}", *differences, f"{cost:.2f}"]


def real_transfers() -> Rows:
    """The ends of runs on degraded photographs, and how their curves differ from their control's."""
    for row in load("real/compare.json")["rows"]:
        ends = [
            f"{np.mean(row[key]):.{digits}f} ± {np.std(row[key], ddof=1):.{digits}f}"
            for key, digits in (("psnr", 2), ("lpips", 3))
        ]
        bd = row.get("bd")
        gaps = [width(bd["lpips"], 4), f"{width(bd['psnr'], 2)} dB"] if bd else ["", ""]
        yield [f"`{row['method']}`", *ends, *gaps]


def domains() -> Rows:
    found = load("extend/documents.json")["psnr"]
    before = found["before"]
    yield ["before", *(f"{before[key]:.2f} dB" for key in ("old", "new"))]
    for name, label in (("without", "without the loss `forgetting`"), ("with", "with it")):
        cells = [
            f"{found[name][key]:.2f} dB ({found[name][key] - before[key]:+.2f})" for key in ("old", "new")
        ]
        yield [label, *cells]


def train_step() -> Rows:
    stages = load("results/train_step.json")["stages"]
    for name, stage in stages.items():
        yield [
            name,
            ratio(stage["ours_to_bare"], 2),
            ratio(stage["data_to_bare"], 3),
            ratio(stage["compile_to_eager"], 2),
        ]
    profiles = [stage["profile"] for stage in stages.values()]
    for part in profiles[0]:
        yield [part, *(f"{profile[part]:.0%}".replace("%", " %") for profile in profiles)]


def ratio(found: Mapping[str, Any], digits: int) -> str:
    low, high = found["quartiles"]
    return f"{found['median']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def upscaling() -> Rows:
    result = load("results/upscale.json")
    for size, found in result["sizes"].items():
        parts = found["to_base"]
        encoded = [f"{parts[name]['median']:.2f}" for name in ("encode .jpg", "encode .png")]
        yield [size, str(found["tiles"]), ratio(parts["decode + enlarge"], 2), *encoded]
    contenders = result["contenders"]
    for name, psnr in contenders["psnr"].items():
        found = contenders["to_base"].get(name, {"median": 1})
        time = f"{found['median']:.2g}" if found["median"] != 1 else "1"
        label = f"`{name}`" if name in list_shipped() else name
        yield [label, contenders["runtimes"][name], rf"{re.escape(time)}( \(.*\))?", f"{psnr:.2f} dB"]


def patterns() -> Rows:
    for name, found in load("results/patterns.json").items():
        label = "earlier `srgan_student_lite_psnr`" if name == "before.safetensors" else f"`{name}`"
        yield [label, *(f"{value:.1f}" for value in found.values())]


def inheritance() -> Rows:
    """Students from fresh weights and from the nearest trained ones."""
    for row in load("compress/inheritance.json")["rows"]:
        yield [row["student"], row["start"], f"{row['before']:.2f} dB", f"{row['after']:.2f} dB"]


def finetuned() -> Rows:
    """Variants of the default adversarial fine-tuning, and their start."""
    found = load("finetuning/defaults.json")["scores"]
    for name, whole in found["Set5"].items():
        flat = found["flat"][name]
        cells = [f"{part['psnr']:.2f} dB, {part['st-lpips-alex']:.3f}" for part in (whole, flat)]
        cells += [f"{flat[key]:.2f}" for key in ("lattice", "halo", "flat-noise")]
        yield [f"`{name}`" if name in list_shipped() else name, *cells]


def quantised() -> Rows:
    """What int8 loses, plain and fine-tuned, and its time."""
    runtimes = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}
    for name, student in load("quantisation/table.json")["students"].items():
        for key, runtime in runtimes.items():
            plain, tuned = (student["rows"][f"{key}, {kind}"] for kind in ("int8", "int8 tuned"))
            # Rounded to zero, a small gain is no loss of -0.00.
            losses = (f"{round(row['loss'], 2) + 0:.2f}" for row in (plain, tuned))
            yield [f"`{name}`", runtime, *losses, ratio(plain["time_to_fp32"], 2)]


TABLES = {
    "README.md": [("the scores at the end", readme_scores)],
    "benchmarks/README.md": [
        ("Shipped weights", shipped),
        ("Strategies", strategies),
        ("gan2gan against half the steps", half_way),
        ("Methods", lambda: comparison("methods")),
        ("Compressing", inheritance),
        ("Fine-tuning", finetuned),
        ("int8", quantised),
        ("Recipe", trials),
        ("Real photographs", real_transfers),
        ("A second domain", domains),
        ("The training step", train_step),
        ("Upscaling", upscaling),
        ("Images unlike photographs", patterns),
    ],
}


def find_errors(texts: Mapping[str, str]) -> list[str]:
    """The rows that a text lacks, each with its file and table.

    Args:
        texts: of README.md and benchmarks/README.md, by name.
    """
    errors = []
    for name, tables in TABLES.items():
        lines = [
            [cell.strip() for cell in line.strip().strip("|").split("|")] for line in texts[name].splitlines()
        ]
        for title, make in tables:
            errors += [
                f"{name}, {title}: no row | {' | '.join(row)} |" for row in make() if not is_in(row, lines)
            ]
    return errors


def is_in(row: list[str], lines: list[list[str]]) -> bool:
    """Whether one of the lines is a row: cells with a parenthesis or `.*` are patterns, others are texts."""
    return any(len(line) == len(row) and all(map(fits, row, line)) for line in lines)


def fits(expected: str, cell: str) -> bool:
    return expected == cell or (expected.endswith((".*", ")?")) and bool(re.fullmatch(expected, cell)))


def find_card_errors(folder: Path) -> list[str]:
    """The scores in cards, and in their index, that the score files do not have."""
    errors = []
    for name, entry in list_shipped().items():
        text = (folder / f"{name}.md").read_text(encoding="utf-8")
        for part in ("Set5", "Set14", "BSD100"):
            mean = load(f"scores/{name}-{part}.json")["mean"]
            found = [f"{mean['psnr']:.2f}", f"{mean['ssim']:.4f}", f"{mean['st-lpips-alex']:.4f}"]
            if f"| {part} | this | y-crop4 | {' | '.join(found)} |" not in text:
                errors.append(f"{name}.md, {part}: not {' | '.join(found)}")
            rounded = {key: round(mean[key], 4) for key in ("psnr", "ssim", "st-lpips-alex")}
            if entry["scores"][part] != rounded:
                errors.append(f"index.json, {name}, {part}: not {rounded}")
    return errors


def check(_: Any) -> None:
    """Prints every difference.

    Raises:
        SrkdError: there are some.
    """
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in TABLES}
    errors = [*find_errors(texts), *find_card_errors(ROOT / "weights")]
    for error in errors:
        print(error)
    if errors:
        raise SrkdError(f"{len(errors)} figures differ from the committed files")
    print("every table is what the committed files say")


if __name__ == "__main__":
    run_script(make_parser(__doc__), check)
