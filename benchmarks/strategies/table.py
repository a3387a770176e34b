"""The table of the transfer strategies: students beside bicubic, teachers and their own controls.

    python benchmarks/strategies/table.py --data BENCHMARKS [--dat DAT_light_x4.pth]
        [--runs benchmarks/strategies/weights] [--json benchmarks/strategies/table.json]
    python benchmarks/strategies/table.py --pack runs/strategies [--runs benchmarks/strategies/weights]

BENCHMARKS holds Set5/, Set14/ and BSD100/, each with HR/ and LR/ inside. `--runs` is what `srkd compare`
wrote, or what `--pack` made of it: each stage's last weights in half precision, which are run in float32.
Scores are those of `srkd evaluate`; they are kept in `--cache`, so that an interrupted run goes on. Besides
table.json come table.md, with what the figures say of the papers' claims, and crops.png.
"""

import argparse
import hashlib
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

import srkd
from srkd.backends import open_upscaler
from srkd.catalog import find_weights, list_shipped
from srkd.comparison import paired_interval
from srkd.data import Pair
from srkd.errors import SrkdError, UsageError, choose
from srkd.evaluation import open_benchmark, score_image
from srkd.exports import write_onnx
from srkd.files import console, file_hash, progress, replacing, write_text
from srkd.models.cost import count_macs, count_parameters
from srkd.perceptual import STLPIPS, check_size
from srkd.strategies import STRATEGIES
from srkd.tiling import Upscaler

# Latency is measured as the benchmark of upscaling does it.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from upscale import (
    TEACHER,
    Entry,
    clock,
    enlarge_bicubic,
    export_teacher,
    on_pixels,
    open_run,
    open_torch,
    take_turns,
    to_base,
)

HERE = Path(__file__).resolve().parent
SCALE, PROTOCOL = 4, "y-crop4"
SETS = "Set5,Set14,BSD100"
SIZE = (128, 96)  # of LR, for latency
BASE = f"{TEACHER}, random weights"
START, STUDENT, GAN_TEACHER = "srgan_student_lite_psnr", "srgan_student_lite_gan", "srgan_teacher_gan"
SHIPPED = ("srgan_teacher_psnr", GAN_TEACHER, START, STUDENT)
# The stages that are recorded, and how they are spoken of.
STAGES = {"transfer": "after the transfer stage", "finetune": "after fine-tuning"}
LPIPS = ("st-lpips-alex", "st-lpips-vgg")
DIGITS = {"psnr": 2, "ssim": 4, **dict.fromkeys(LPIPS, 4)}
# Those that differences are told of, and whether more is better.
MEASURES = {"psnr": True, "st-lpips-alex": False}
WORDS = {"psnr": "PSNR", "ssim": "SSIM"}
BETTER, WORSE, EQUAL = "better", "worse", "not told apart"
BEST = "g2g_al"
NOTES = (
    "st-lpips-vgg looks through the same trunk (st-vgg) as the perceptual loss of the training does; "
    "st-lpips-alex is the independent measure. LPIPS: lower is nearer.",
    "An interval that includes 0, or a single seed, counts as not told apart. Intervals are 95 % paired t "
    "intervals over seeds, not corrected for how many there are.",
    "crops.png: the fine-tuned row is the one that is best in mean st-lpips-alex on the first set, by "
    "its first seed; the figures are those of whole images.",
)


class Crop(NamedTuple):
    """A window of a benchmark's image, in HR pixels."""

    set: str
    name: str
    left: int
    top: int


# Edges, texture, lettering.
CROPS = (
    Crop("Set5", "img_003.png", 128, 80),
    Crop("Set5", "img_005.png", 40, 0),
    Crop("Set14", "img_005.png", 64, 60),
    Crop("Set14", "img_013.png", 24, 236),
    Crop("Set14", "img_014.png", 420, 140),
)
SIDE, ENLARGED, FONT = 112, 2, 14

# Of an image, by weights.
Scores = dict[str, dict[str, float]]


class Row(NamedTuple):
    """A row of the table: a name, a stage where there are several, the weights of each seed, and the name of
    its control."""

    name: str
    weights: tuple[Path | str, ...]
    stage: str | None = None
    control: str | None = None

    @property
    def title(self) -> str:
        return f"{self.name}, {self.stage}" if self.stage else self.name

    @property
    def keys(self) -> list[str]:
        """What names the weights in the cache: their bytes."""
        return [path if isinstance(path, str) else hash_weights(path) for path in self.weights]


hash_weights = cache(file_hash)


def read_runs(folder: Path) -> list[Row]:
    """The rows of a folder that `srkd compare` or `--pack` wrote.

    Raises:
        UsageError: it is not there, or not whole.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give what `srkd compare` or --pack wrote")
    file = folder / "compare.json"
    if not file.is_file():
        raise UsageError(
            f"{folder} holds no compare.json; give what `srkd compare` wrote when it had finished"
        )
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
        found = [(row["method"], row["control"]) for row in summary["rows"]]
        seeds = int(summary["seeds"])
    except (ValueError, KeyError, TypeError) as error:
        raise SrkdError(f"{file} is not what `srkd compare` writes, or is damaged") from error
    rows = []
    for name, control in found:
        for stage in STAGES:
            paths = tuple(folder / f"{name}-{seed}" / f"{stage}.safetensors" for seed in range(seeds))
            missing = [path for path in paths if not path.is_file()]
            if len(missing) < len(paths) and missing:
                raise UsageError(f"there is no {missing[0]}, which {file.name} tells of")
            if not missing:
                rows.append(Row(name, paths, stage, control))
        if all(row.name != name for row in rows):
            raise UsageError(f"{folder} holds no weights of {name}, which {file.name} tells of")
    if not rows:
        raise UsageError(f"{folder} holds no weights")
    return rows


def find_rows(runs: Path, dat: Path | None) -> tuple[list[Row], dict[str, str]]:
    """All rows in their order; and those that are left out, with the reason."""
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


def pack(source: Path, target: Path) -> None:
    """Copies each stage's last weights of a finished `srkd compare`, in half precision, with compare.json."""
    rows = read_runs(source)
    if source.resolve() == target.resolve():
        raise UsageError(f"--pack {source} would be packed into itself; give another --runs")
    size = 0
    for path in (Path(path) for row in rows for path in row.weights):
        module: Any = srkd.load_generator(path).half()
        if not all(bool(torch.isfinite(value).all()) for value in module.state_dict().values()):
            raise SrkdError(f"{path} holds weights that are too large for half precision")
        info = {key: value for key, value in module.info.items() if key not in ("format", "kind")}
        size += srkd.save_generator(module, target / path.relative_to(source), **info).stat().st_size
    write_text(target / "compare.json", (source / "compare.json").read_text(encoding="utf-8"))
    count = sum(len(row.weights) for row in rows)
    console.print(f"{count} weights files, {size / 2**20:.1f} MiB -> {target}", markup=False)


class Remembering(nn.Module):
    """A trunk that looks once at an image that all others are compared with."""

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.trunk = trunk
        self.image: Tensor | None = None
        self.features: dict[str, Tensor] = {}

    def remember(self, image: Tensor) -> None:
        self.features, self.image = self.trunk(image), image

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.features if x is self.image else self.trunk(x)


class Judge:
    """Scores images against one HR image as `srkd evaluate` does, whose own features are computed once."""

    def __init__(self) -> None:
        self.pair: Pair | None = None
        self.hr = torch.empty(0)
        self.measures = {name: STLPIPS(name.replace("-lpips", "")).eval() for name in LPIPS}
        for measure in self.measures.values():
            measure.trunk = Remembering(measure.trunk)  # type: ignore[assignment]

    @torch.no_grad()
    def score(self, sr: np.ndarray, pair: Pair) -> dict[str, float]:
        if pair is not self.pair:
            check_size(*pair.hr.shape[:2])
            self.pair, self.hr = pair, to_tensor(pair.hr)
            for measure in self.measures.values():
                measure.trunk.remember(self.hr)  # type: ignore[operator]
        image = to_tensor(sr)
        distances = {name: float(measure(image, self.hr)) for name, measure in self.measures.items()}
        return {**score_image(sr, pair, PROTOCOL, "none"), **distances}


def to_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None] / 255


class Cache:
    """Scores of weights on images, a file an image. They go by the bytes of both and by this package's
    version, so that what changed is scored anew."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, set_name: str, pair: Pair) -> Path:
        parts = (srkd.__version__.encode(), pair.hr.tobytes(), pair.lr.tobytes())
        digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
        return self.folder / f"{set_name}-{Path(pair.name).stem}-{digest}.json"

    def read(self, path: Path) -> Scores:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}


def open_model(path: Path | str) -> Upscaler:
    """Weights on the CPU in float32, where scores are the same on every machine but for rounding."""
    upscaler = open_upscaler(path, "cpu", SCALE)
    if upscaler.scale != SCALE:
        raise UsageError(f"{path} is x{upscaler.scale}, and the table is at x{SCALE}")
    return upscaler


def score_all(rows: Sequence[Row], data: Path, sets: Sequence[str], store: Cache) -> dict[str, list[Scores]]:
    """Scores by set, image and weights. Images outside, models inside: what an image costs is paid once."""
    paths = {key: path for row in rows for key, path in zip(row.keys, row.weights, strict=True)}
    open_once, judge = cache(open_model), Judge()
    counts = {name: open_benchmark(str(data / name), SCALE)[0] for name in sets}
    found: dict[str, list[Scores]] = {}
    with progress("scoring", len(paths) * sum(counts.values())) as advance:
        for name, count in counts.items():
            console.print(f"{name}: {count} images, {len(paths)} models", markup=False)
            found[name] = []
            for pair in open_benchmark(str(data / name), SCALE)[1]:
                file = store.path(name, pair)
                scores = store.read(file)
                for key, path in paths.items():
                    if key not in scores:
                        try:
                            scores[key] = judge.score(open_once(path)(pair.lr), pair)
                        except SrkdError as error:
                            raise type(error)(f"{name}, {pair.name}, {path}: {error}") from error
                        write_text(file, json.dumps(scores) + "\n")
                    advance(1)
                found[name].append(scores)
    return found


def find_costs(rows: Sequence[Row], threads: int, turns: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """For each row its parameters, multiply-accumulates and latency; and how latency was measured. Networks
    of one architecture cost the same, and are measured once."""
    costs, names = [], []
    timed: dict[str, Row] = {}
    for row in rows:
        path = row.weights[0]
        if path == "bicubic":
            costs.append({"parameters": 0, "macs": 0})
            names.append("bicubic")
        else:
            model: Any = srkd.load_generator(path)
            costs.append({"parameters": count_parameters(model), "macs": try_macs(model)})
            names.append(json.dumps(model.config) if hasattr(model, "config") else row.name)
        timed.setdefault(names[-1], row)
    latency = time_models(timed, threads, turns) if turns else {}
    ratios = latency.pop("to_base", {})
    for name, cost in zip(names, costs, strict=True):
        cost["latency"] = ratios.get(name)
    return costs, latency


def try_macs(model: Any) -> int | None:
    """Multiply-accumulates; None of a foreign network that cannot be counted without being computed."""
    if hasattr(model, "config"):
        return count_macs(model, SCALE)
    try:
        return count_macs(model, SCALE)
    except (RuntimeError, NotImplementedError, ValueError):
        return None


def time_models(timed: Mapping[str, Row], threads: int, turns: int) -> dict[str, Any]:
    """Ratios to the teacher's time, taken in turns."""
    lr = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        enlarge = {BASE: on_pixels(open_run(export_teacher(folder), threads))}
        for number, (name, row) in enumerate(timed.items()):
            enlarge[name] = open_runtime(row, folder / f"{number}.onnx", threads)

        def entry(name: str, work: Callable[[np.ndarray], np.ndarray]) -> Entry:
            return lambda turn: clock(name, lambda: work(lr))

        console.print(f"latency: {len(enlarge)} networks, {turns} turns", markup=False)
        found = to_base(take_turns([entry(*item) for item in enlarge.items()], turns), BASE)
    return {
        "size": f"{SIZE[0]}x{SIZE[1]}",
        "threads": threads,
        "machine": platform.processor() or platform.machine(),
        "runtime": "ONNX Runtime; DAT-light by torch, bicubic by Pillow",
        **found,
    }


def open_runtime(row: Row, onnx: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    path = row.weights[0]
    if path == "bicubic":
        return enlarge_bicubic
    model: Any = srkd.load_generator(path)
    if not hasattr(model, "config"):
        return on_pixels(open_torch(Path(path), threads))
    write_onnx(model, onnx)
    return on_pixels(open_run(onnx, threads))


def summarise(row: Row, scores: Mapping[str, Sequence[Scores]]) -> dict[str, Any]:
    """A row's means over images, by set and measure: of each seed, their mean, and its deviation."""
    result: dict[str, Any] = {}
    for name, images in scores.items():
        result[name] = {}
        for measure in DIGITS:
            seeds = [float(np.mean([image[key][measure] for image in images])) for key in row.keys]
            deviation = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
            result[name][measure] = {"mean": float(np.mean(seeds)), "std": deviation, "seeds": seeds}
    return {"row": row.name, "stage": row.stage, "control": row.control, "scores": result}


def add_differences(rows: Sequence[dict[str, Any]]) -> None:
    """Adds to each row the paired differences to its control at the same stage, by set and measure."""
    places = {(row["row"], row["stage"]): row for row in rows}
    for row in rows:
        control = places.get((row["control"], row["stage"]))
        if control is not None:
            row["difference"] = difference(row, control)


def difference(row: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            measure: paired_interval(found[measure]["seeds"], other["scores"][name][measure]["seeds"])
            for measure in MEASURES
        }
        for name, found in row["scores"].items()
    }


def judge_gap(gap: Mapping[str, Any], more_is_better: bool) -> str:
    """Whether a paired difference tells two apart, and which way."""
    mean, width = gap["mean"], gap["half_width"]
    if width is None or abs(mean) <= width:
        return EQUAL
    return BETTER if (mean > 0) == more_is_better else WORSE


def judge_claims(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the figures say of the papers' claims: a verdict and the cases behind it, each with a line."""
    taught = [name for name, strategy in STRATEGIES.items() if strategy.teacher]
    return [
        against_controls("Distilled students beat undistilled ones (Lee & Park 2021)", rows, taught),
        against_rivals("G2G+AL is the best of the four (Lee & Park 2021)", rows, taught),
        against_controls(
            "Mutual distillation of discriminators beats plain fine-tuning (Lee & Park 2022)",
            rows,
            ["mutual"],
        ),
    ]


def against_controls(claim: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Each method against its own control, at every stage, measure and set."""
    lines, verdicts = [], []
    for stage, words in STAGES.items():
        found = [row for row in rows if row["row"] in names and row["stage"] == stage and "difference" in row]
        for measure, more in MEASURES.items():
            groups: dict[str, list[str]] = {BETTER: [], WORSE: [], EQUAL: []}
            for row in found:
                judged = {name: judge_gap(gaps[measure], more) for name, gaps in row["difference"].items()}
                verdicts += judged.values()
                for verdict, methods in groups.items():
                    sets = [name for name, value in judged.items() if value == verdict]
                    methods += [f"{row['row']} ({', '.join(sets)})"] * bool(sets)
            if found:
                said = [f"{verdict}: {', '.join(methods)}" for verdict, methods in groups.items() if methods]
                lines.append(f"{words}, {WORDS.get(measure, measure)}: {'; '.join(said)}")
    return conclude(claim, verdicts, lines)


def against_rivals(claim: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """One strategy against the others after fine-tuning: better than all, worse than some, or neither."""
    last = list(STAGES)[-1]
    students = {row["row"]: row for row in rows if row["row"] in names and row["stage"] == last}
    favourite = students.pop(BEST, None)
    lines, verdicts = [], []
    if favourite is not None and students:
        gaps = {name: difference(favourite, row) for name, row in students.items()}
        for measure, more in MEASURES.items():
            said = []
            for name in favourite["scores"]:
                judged = {rival: judge_gap(gap[name][measure], more) for rival, gap in gaps.items()}
                verdict, words = rank(judged)
                verdicts.append(verdict)
                said.append(f"{words} on {name}")
            lines.append(f"{STAGES[last]}, {WORDS.get(measure, measure)}: {'; '.join(said)}")
    return conclude(claim, verdicts, lines)


def rank(judged: Mapping[str, str]) -> tuple[str, str]:
    """What a comparison with each rival comes to, and how it is said."""

    def where(verdict: str) -> list[str]:
        return [rival for rival, value in judged.items() if value == verdict]

    if where(WORSE):
        return WORSE, f"{BEST} is beaten by {', '.join(where(WORSE))}"
    if where(EQUAL):
        return EQUAL, f"{BEST} is {EQUAL} from {', '.join(where(EQUAL))}"
    return BETTER, f"{BEST} is best"


def conclude(claim: str, verdicts: Sequence[str], lines: Sequence[str]) -> dict[str, Any]:
    """A claim with its verdict over all cases."""
    better, worse, equal = (verdicts.count(verdict) for verdict in (BETTER, WORSE, EQUAL))
    if not verdicts:
        verdict = "not tested: the runs do not hold what it speaks of"
    elif better == len(verdicts):
        verdict = "held"
    elif better and worse:
        verdict = "held in some cases and the reverse in others"
    elif better:
        verdict = "held in part"
    else:
        verdict = "did not hold" if worse else EQUAL
    if verdicts:
        verdict += f" ({better} of {len(verdicts)} cases for it, {worse} against, {equal} {EQUAL})"
    return {"claim": claim, "verdict": verdict, "cases": list(lines)}


def title(row: Mapping[str, Any]) -> str:
    return Row(row["row"], (), row["stage"]).title


def write_markdown(result: Mapping[str, Any], path: Path) -> None:
    parts = [
        f"Protocol {PROTOCOL}; mean and standard deviation over seeds. Multiply-accumulates are for one "
        f"1280x720 output. {describe_latency(result['latency'])}"
    ]
    for name, count in result["sets"].items():
        parts.append(f"{name}, {count} images:")
        parts.append(score_table(result["rows"], name))
    if any("difference" in row for row in result["rows"]):
        parts.append("Differences to the own control at the same stage, with 95 % intervals:")
        parts.append(difference_table(result["rows"], list(result["sets"])))
    for claim in result["claims"]:
        cases = "".join(f"\n- {case}" for case in claim["cases"])
        parts.append(f"**{claim['claim']}: {claim['verdict']}.**{cases}")
    parts += NOTES
    if result["left_out"]:
        reasons = "; ".join(f"{name}, {reason}" for name, reason in result["left_out"].items())
        parts.append(f"Left out: {reasons}.")
    write_text(path, "\n\n".join(parts) + "\n")


def describe_latency(latency: Mapping[str, Any]) -> str:
    if not latency:
        return "Latency was not measured."
    return (
        f"Latency is over that of {latency['base']}: x{SCALE} of {latency['size']} pixels, medians over "
        f"turns with quartiles, {latency['threads']} threads, {latency['runtime']}."
    )


def score_table(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    heads = ["", *(WORDS.get(measure, measure) for measure in DIGITS), "parameters", "MACs", "latency"]
    lines = []
    for row in rows:
        found = row["scores"][name]
        cells = [spread(found[measure], digits) for measure, digits in DIGITS.items()]
        lines.append([title(row), *cells, *cost_cells(row)])
    return render(heads, lines)


def cost_cells(row: Mapping[str, Any]) -> list[str]:
    latency = ""
    if row["latency"]:
        low, high = row["latency"]["quartiles"]
        latency = f"{row['latency']['median']:.2g} ({low:.2g} to {high:.2g})"
    if not row["parameters"]:
        return ["", "", latency]
    macs = f"{row['macs'] / 1e9:.1f} G" if row["macs"] else ""
    return [f"{row['parameters'] / 1000:,.0f} k", macs, latency]


def difference_table(rows: Sequence[Mapping[str, Any]], sets: Sequence[str]) -> str:
    heads = ["", "control", *(f"{name} {WORDS.get(m, m)}" for name in sets for m in MEASURES)]
    lines = []
    for row in rows:
        if "difference" in row:
            gaps = [
                gap(row["difference"][name][m], DIGITS[m] + (m == "psnr")) for name in sets for m in MEASURES
            ]
            lines.append([title(row), row["control"], *gaps])
    return render(heads, lines)


def render(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|---" + "|---:" * (len(heads) - 1) + "|"
    return "\n".join([f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def spread(found: Mapping[str, Any], digits: int) -> str:
    deviation = "" if found["std"] is None else f" ± {found['std']:.{digits}f}"
    return f"{found['mean']:.{digits}f}{deviation}"


def gap(found: Mapping[str, Any], digits: int) -> str:
    width = "" if found["half_width"] is None else f" ± {found['half_width']:.{digits}f}"
    return f"{found['mean']:+.{digits}f}{width}"


def choose_columns(rows: Sequence[Row], summaries: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
    """What crops are shown of: bicubic, the student as it began, the fine-tuned one that is best in mean
    st-lpips-alex on the first set, by its first seed, the shipped one, and the GAN-trained teacher."""
    first, last = next(iter(summaries[0]["scores"])), list(STAGES)[-1]
    tuned = [
        (summary["scores"][first]["st-lpips-alex"]["mean"], row)
        for row, summary in zip(rows, summaries, strict=True)
        if row.stage == last
    ]
    best = min(tuned, key=lambda entry: entry[0])[1] if tuned else None
    named = {row.name: row for row in rows if row.stage is None}
    shown = [named.get("bicubic"), named.get(START), best, named.get(STUDENT), named.get(GAN_TEACHER)]
    return {row.title: row for row in shown if row is not None}


def draw_crops(
    columns: Mapping[str, Row], data: Path, sets: Sequence[str], store: Cache, path: Path
) -> list[str]:
    """Writes the grid, a line an image, pixels as squares; returns the images that are not there."""
    models = {name: (open_model(row.weights[0]), row.keys[0]) for name, row in columns.items()}
    lines, missing = [], []
    for crop in CROPS:
        if crop.set not in sets:
            continue
        pairs = open_benchmark(str(data / crop.set), SCALE)[1]
        pair = next((pair for pair in pairs if pair.name == crop.name), None)
        if pair is None:
            missing.append(f"{crop.set}/{crop.name}")
            continue
        scores = store.read(store.path(crop.set, pair))
        window = np.s_[crop.top : crop.top + SIDE, crop.left : crop.left + SIDE]
        line = {f"HR, {crop.set} {crop.name}": pair.hr[window]}
        for name, (model, key) in models.items():
            line[f"{name}\nst-lpips-alex {scores[key]['st-lpips-alex']:.4f}"] = model(pair.lr)[window]
        lines.append(line)
    if lines:
        with replacing(path) as temporary:
            paint(lines).save(temporary)
    return missing


def paint(lines: Sequence[Mapping[str, np.ndarray]]) -> Image.Image:
    """Captioned pictures in a grid, each pixel a square."""
    cell, room, space = SIDE * ENLARGED, round(2.6 * FONT), 6
    size = (len(lines[0]) * (cell + space), len(lines) * (cell + room))
    sheet = Image.new("RGB", size, "white")
    brush, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for row, line in enumerate(lines):
        for column, (caption, picture) in enumerate(line.items()):
            left, top = column * (cell + space), row * (cell + room)
            brush.text((left, top), caption, "black", font)
            squares = picture.repeat(ENLARGED, 0).repeat(ENLARGED, 1)
            sheet.paste(Image.fromarray(squares), (left, top + room))
    return sheet


def choose_sets(data: Path, text: str) -> list[str]:
    """The sets named, all of which must be there."""
    if not data.is_dir():
        raise UsageError(f"--data: there is no folder {data}")
    there = sorted(path.name for path in data.iterdir() if (path / "HR").is_dir())
    if not there:
        raise UsageError(f"--data: {data} holds no folder with HR inside, such as Set5")
    return [choose("set", name.strip(), there) for name in dict.fromkeys(text.split(","))]


def make_table(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scores, measures and writes everything."""
    if arguments.threads < 1 or arguments.turns < 0:
        raise UsageError("--threads is at least 1, and --turns at least 0")
    data, store, out = arguments.data, Cache(arguments.cache), arguments.json
    if out.suffix != ".json":
        raise UsageError(f"--json {out} does not end in .json")
    sets = choose_sets(data, arguments.sets)
    rows, left_out = find_rows(arguments.runs, arguments.dat)
    for name, reason in left_out.items():
        console.print(f"left out: {name}, {reason}", markup=False)
    scores = score_all(rows, data, sets, store)
    summaries = [summarise(row, scores) for row in rows]
    add_differences(summaries)
    costs, latency = find_costs(rows, arguments.threads, arguments.turns)
    result = {
        "protocol": PROTOCOL,
        "versions": {package: version(package) for package in ("srkd", "torch", "onnxruntime")},
        "sets": {name: len(images) for name, images in scores.items()},
        "left_out": left_out,
        "latency": latency,
        "rows": [{**summary, **cost} for summary, cost in zip(summaries, costs, strict=True)],
        "claims": judge_claims(summaries),
    }
    write_text(out, json.dumps(result, indent=1) + "\n")
    write_markdown(result, out.with_suffix(".md"))
    missing = draw_crops(choose_columns(rows, summaries), data, sets, store, out.with_name("crops.png"))
    for name in missing:
        console.print(f"left out of crops.png: {name} is not in {data}", markup=False)
    for claim in result["claims"]:
        console.print(f"{claim['claim']}: {claim['verdict']}", markup=False)
    console.print(f"{len(rows)} rows -> {out}, {out.with_suffix('.md').name}", markup=False)
    return result


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--data", type=Path, help="the folder of the benchmarks' folders")
    task.add_argument("--pack", type=Path, help="instead: a finished `srkd compare`, to pack into --runs")
    parser.add_argument("--runs", type=Path, default=HERE / "weights", help="the weights of the strategies")
    parser.add_argument("--dat", type=Path, help="a network that spandrel loads: DAT_light_x4.pth")
    parser.add_argument("--sets", default=SETS, help="folders of --data, with commas between")
    parser.add_argument(
        "--json", type=Path, default=HERE / "table.json", help="the figures; others beside it"
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/strategies_scores"), help="kept scores")
    parser.add_argument("--threads", type=int, default=2, help="for latency")
    parser.add_argument("--turns", type=int, default=10, help="for latency; 0 leaves it out")
    arguments = parser.parse_args(words)
    try:
        if arguments.pack is not None:
            pack(arguments.pack, arguments.runs)
        else:
            make_table(arguments)
    except SrkdError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted; the same again goes on\n")


if __name__ == "__main__":
    main()
