"""The table of the transfer strategies: students next to bicubic, the teachers and their own controls.

    python benchmarks/strategies/table.py --data BENCHMARKS [--dat DAT_light_x4.pth]
        [--runs benchmarks/strategies/weights] [--json benchmarks/strategies/table.json]
    python benchmarks/strategies/table.py --pack runs/strategies [--runs benchmarks/strategies/weights]

BENCHMARKS holds Set5/, Set14/ and BSD100/, each with HR/ and LR/ inside. `--runs` is the output of
`srkd compare` or `--pack`, which keeps the final weights of each stage in half precision; they run in
float32. Scores are those of `srkd evaluate`; an interrupted run resumes from those in `--cache`. Next to
table.json it writes table.md, with verdicts on the papers' claims, and crops.png.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from srkd.errors import UsageError, choose
from srkd.files import write_text
from srkd.terminal import console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import (
    check_at_least,
    check_folder,
    check_output,
    make_parser,
    run_script,
    versions,
    write_json,
)
from benchmarks.strategies.claims import add_differences, check_claims
from benchmarks.strategies.costs import find_costs
from benchmarks.strategies.crops import choose_columns, draw_crops
from benchmarks.strategies.markdown import to_markdown
from benchmarks.strategies.pack import pack
from benchmarks.strategies.rows import find_rows
from benchmarks.strategies.score import PROTOCOL, score_all, summarise

HERE = Path(__file__).resolve().parent
SETS = "Set5,Set14,BSD100"


def choose_sets(data: Path, text: str) -> list[str]:
    """The named sets.

    Raises:
        UsageError: one of them is not in the folder.
    """
    check_folder("--data", data)
    present = sorted(path.name for path in data.iterdir() if (path / "HR").is_dir())
    if not present:
        raise UsageError(f"--data: {data} has no subfolder with HR inside, such as Set5")
    return [choose("set", name.strip(), present) for name in dict.fromkeys(text.split(","))]


def make_table(arguments: Namespace) -> None:
    """Scores and measures everything and writes the files."""
    check_at_least(1, threads=arguments.threads)
    check_at_least(0, turns=arguments.turns)
    data, cache, out = arguments.data, arguments.cache, arguments.json
    check_output("--json", out, ".json")
    sets = choose_sets(data, arguments.sets)
    rows, left_out = find_rows(arguments.runs, arguments.dat)
    for name, reason in left_out.items():
        console.print(f"left out: {name}, {reason}", markup=False)
    scores = score_all(rows, data, sets, cache)
    summaries = [summarise(row, scores) for row in rows]
    add_differences(summaries)
    costs, latency = find_costs(rows, arguments.threads, arguments.turns)
    result = {
        "protocol": PROTOCOL,
        "versions": versions("srkd", "torch", "onnxruntime"),
        "sets": {name: len(images) for name, images in scores.items()},
        "left_out": left_out,
        "latency": latency,
        "rows": [{**summary, **cost} for summary, cost in zip(summaries, costs, strict=True)],
        "claims": check_claims(summaries),
    }
    write_json(out, result)
    write_text(out.with_suffix(".md"), to_markdown(result))
    missing = draw_crops(choose_columns(rows, summaries), data, sets, cache, out.with_name("crops.png"))
    for name in missing:
        console.print(f"left out of crops.png: {name} is not in {data}", markup=False)
    for claim in result["claims"]:
        console.print(f"{claim['claim']}: {claim['verdict']}", markup=False)
    console.print(f"{len(rows)} rows -> {out}, {out.with_suffix('.md').name}", markup=False)


def work(arguments: Namespace) -> None:
    if arguments.pack is not None:
        pack(arguments.pack, arguments.runs)
    else:
        make_table(arguments)


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--data", type=Path, help="the folder that holds the benchmark sets")
    task.add_argument("--pack", type=Path, help="pack this finished `srkd compare` into --runs instead")
    add = parser.add_argument
    add("--runs", type=Path, default=HERE / "weights", help="the weights of the strategies")
    add("--dat", type=Path, help="a network that spandrel loads: DAT_light_x4.pth")
    add("--sets", default=SETS, help="subfolders of --data, separated by commas")
    add(
        "--json", type=Path, default=HERE / "table.json", help="file for the figures; the others go beside it"
    )
    add("--cache", type=Path, default=Path("runs/strategies_scores"), help="folder of finished scores")
    add("--threads", type=int, default=2, help="for latency")
    add("--turns", type=int, default=10, help="for latency; 0 skips it")
    run_script(parser, work, words, "interrupted; run the same command to resume")


if __name__ == "__main__":
    main()
