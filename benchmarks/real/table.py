"""The table of students for real photographs: scores, shares of the teacher's way, artefacts, and time.

    python benchmarks/real/table.py --data PHOTOS [--held-out benchmarks/validation.sha256]
        --teacher realesrgan-x4plus.param --students [LABEL=]WEIGHTS ... [--real PICTURES]
        [--json benchmarks/real/table.json]

The middles of held-out photographs, at most 160x160 LR pixels, are degraded with fixed seeds in each of
`--kinds`, `--draws` times each (`clean` is bicubic's LR, once). A share is how far a student is on the
teacher's way from bicubic, with a 95 % interval over photographs. Pictures in `--real` have no HR: for them
NIQE stands beside nearness to the teacher. Pictures and scores are kept in `--cache`, so that an interrupted
run resumes. Writes table.json, and table.md next to it.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srkd.errors import choose
from srkd.terminal import console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import (
    check_at_least,
    check_folder,
    check_output,
    make_parser,
    run_script,
    write_report,
)
from benchmarks.real.cases import KINDS, RENDERED, make_cases, read_photos, read_real
from benchmarks.real.markdown import to_markdown
from benchmarks.real.networks import add_options, check_options, find_networks
from benchmarks.real.score import score_all
from benchmarks.real.speed import time_networks
from benchmarks.real.summary import describe, summarise

HERE = Path(__file__).resolve().parent
PHOTO_KINDS = tuple(kind for kind in KINDS if kind not in RENDERED)


def work(arguments: Namespace) -> None:
    check_options(arguments)
    check_at_least(1, draws=arguments.draws)
    check_at_least(0, turns=arguments.turns)
    check_folder("--real", arguments.real)
    check_output("--json", arguments.json, ".json")
    kinds = [choose("kind", kind, PHOTO_KINDS) for kind in arguments.kinds.split(",")]
    networks = find_networks(arguments.teacher, arguments.students, arguments.threads)
    photos = read_photos(arguments.data, arguments.held_out)
    cases = list(make_cases(photos, kinds, arguments.draws, arguments.seed))
    cases += read_real(arguments.real) if arguments.real else []
    console.print(f"{len(photos)} photographs, {len(cases)} pictures, {len(networks)} networks", markup=False)
    rows = score_all(cases, networks, arguments.cache)
    result: Mapping[str, Any] = {
        **describe(networks),
        "seed": arguments.seed,
        "draws": arguments.draws,
        "photographs": {photo.name: photo.sha256 for photo in photos},
        "kinds": summarise(rows, networks, networks[0].label),
        "speed": time_networks(networks, arguments.threads, arguments.turns) if arguments.turns else {},
    }
    write_report(arguments.json, result, to_markdown(result))


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_options(parser)
    add = parser.add_argument
    add("--kinds", default=",".join(PHOTO_KINDS), help="how LR is made, separated by commas")
    add("--draws", type=int, default=3, help="degradations of each photograph and kind")
    add("--real", type=Path, help="folder of low-quality pictures without HR")
    add("--turns", type=int, default=9, help="for the time; 0 skips it")
    add(
        "--json", type=Path, default=HERE / "table.json", help="file for the figures; table.md goes beside it"
    )
    run_script(parser, work, words, "interrupted; run the same command to resume")


if __name__ == "__main__":
    main()
