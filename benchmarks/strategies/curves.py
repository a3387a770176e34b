"""The strategies as curves of PSNR and LPIPS, and their BD-LPIPS and BD-PSNR against their controls.

    python benchmarks/strategies/curves.py --data BENCHMARKS [--sets Set5,Set14]
        [--runs benchmarks/strategies/weights]

Every run is the weights between `srgan_student_lite_psnr`, where all of them started, and its end, scored at
alpha 0, 0.1 .. 1. Next to the methods and their controls stands gan2gan against the undistilled students
after the transfer stage alone, half the steps. Writes curves-SET.json, .md and .png for each set; an
interrupted run resumes from `--cache`.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import check_at_least, make_parser, run_script, write_json
from benchmarks.runtimes import SCALE
from benchmarks.strategies.rows import LAST_STAGE, START, Row, hash_weights, read_runs
from benchmarks.strategies.score import Scorer
from benchmarks.strategies.table import HERE, choose_sets
from srkd.commands.comparing.runs import ALPHAS, between
from srkd.commands.comparing.summary import summarise
from srkd.commands.evaluate import open_benchmark
from srkd.data import Pair
from srkd.errors import choose
from srkd.files import write_text
from srkd.reports.comparison import plot_curves, write_table
from srkd.runtimes import Settings
from srkd.runtimes.torch import open_runner
from srkd.terminal import console, progress
from srkd.weights.catalogue import find_weights

LPIPS = "st-lpips-alex"
# A second control for gan2gan: what its control is half-way.
HALF_WAY = ("gan2gan", "control_gan2g_al", "transfer")


class Curves:
    """Scores of blends on a benchmark set, kept in a file."""

    def __init__(self, name: str, pairs: Sequence[Pair], cache: Path):
        self.pairs, self.file, self.scorer = pairs, cache / f"curves-{name}.json", Scorer(("psnr",), (LPIPS,))
        self.known: dict[str, dict[str, float]] = {}
        if self.file.is_file():
            self.known = json.loads(self.file.read_text(encoding="utf-8"))

    def score(self, end: Path, alpha: float) -> dict[str, float]:
        """PSNR and LPIPS of (1 - alpha) START + alpha end, means over the set."""
        key = f"{hash_weights(end) if alpha else START} {alpha:g}"
        if key not in self.known:
            network = between(find_weights(START), end, alpha)
            runner = open_runner(network, key, Settings("cpu"))
            scores = np.mean([self.score_image(runner(pair.lr), pair) for pair in self.pairs], axis=0)
            self.known[key] = dict(zip(("psnr", "lpips"), map(float, scores), strict=True))
            write_text(self.file, json.dumps(self.known) + "\n")
        return self.known[key]

    def score_image(self, sr: np.ndarray, pair: Pair) -> tuple[float, float]:
        found = self.scorer.score(sr, pair)
        return found["psnr"], found[LPIPS]


def find_ends(folder: Path) -> tuple[dict[str, str | None], dict[str, Row]]:
    """The control of each row, and the rows: every method's last stage, and gan2gan once more."""
    by_place = {(row.name, row.stage): row for row in read_runs(folder)}
    ends = {name: row for (name, stage), row in by_place.items() if stage == LAST_STAGE}
    controls = {name: row.control for name, row in ends.items()}
    method, control, stage = HALF_WAY
    if method in ends and (control, stage) in by_place:
        label = f"{control}, {stage} alone"
        ends |= {label: by_place[control, stage], f"{method} against it": ends[method]}
        controls |= {label: None, f"{method} against it": label}
    return controls, ends


def choose_ends(
    controls: dict[str, str | None], ends: dict[str, Row], text: str
) -> tuple[dict[str, str | None], dict[str, Row]]:
    """The named methods with their controls; all where none is named."""
    names = [choose("method", name.strip(), ends) for name in text.split(",")] if text else list(ends)
    kept = {control for name, control in controls.items() if control and name in names} | {*names}
    return {k: v for k, v in controls.items() if k in kept}, {k: v for k, v in ends.items() if k in kept}


def draw(arguments: Namespace) -> None:
    """Scores every curve and writes the files of every set."""
    check_at_least(1, threads=arguments.threads)
    torch.set_num_threads(arguments.threads)
    controls, ends = choose_ends(*find_ends(arguments.runs), arguments.methods)
    for name in choose_sets(arguments.data, arguments.sets):
        count, pairs = open_benchmark(str(arguments.data / name), SCALE)
        curves, results = Curves(name, list(pairs), arguments.cache), {}
        with progress(name, len(ends)) as advance:
            for label, row in ends.items():
                results[label] = [find_curve(curves, Path(path)) for path in row.weights]
                advance(1)
        summary: dict[str, Any] = {
            **summarise(controls, results, LPIPS),
            "images": f"{name} ({count} images)",
        }
        out = arguments.out / f"curves-{name}.json"
        write_json(out, summary)
        plot_curves(summary, out.with_suffix(".png"))
        write_table(summary, out.with_suffix(".md"))
        console.print(f"-> {out}", markup=False)


def find_curve(curves: Curves, end: Path) -> dict[str, Any]:
    points = [{"alpha": alpha, **curves.score(end, alpha)} for alpha in ALPHAS]
    last = {key: points[-1][key] for key in ("psnr", "lpips")}
    return {**last, "curve": [{key: point[key] for key in ("alpha", "psnr", "lpips")} for point in points]}


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the folder that holds the benchmark sets")
    add("--runs", type=Path, default=HERE / "weights", help="the weights of the strategies")
    add("--sets", default="Set5,Set14", help="subfolders of --data, separated by commas")
    add("--methods", default="", help="rows, separated by commas; all when not given")
    add("--out", type=Path, default=HERE, help="folder for the files")
    add("--cache", type=Path, default=Path("runs/strategies_scores"), help="folder of finished scores")
    add("--threads", type=int, default=1)
    run_script(parser, draw, words, "interrupted; run the same command to resume")


if __name__ == "__main__":
    main()
