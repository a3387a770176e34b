"""Which weights `srkd upscale` should take where none are named: every network on what people have.

    python benchmarks/real/default.py --data PHOTOS [--held-out benchmarks/validation.sha256]
        --teacher realesrgan-x4plus.param --students [LABEL=]WEIGHTS ... [--json benchmarks/real/default.json]

Photographs as a clean PNG, from a camera and from the web, scanned pages and screenshots, which are rendered.
Each network is compared with the present default by paired intervals over pictures. Pictures and scores are
kept in `--cache`. Writes default.json, and default.md next to it.
"""

import shutil
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srkd.metrics.intervals import BETTER, WORSE
from srkd.terminal import console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import check_at_least, check_output, make_parser, run_script, write_report
from benchmarks.real.cases import RENDERED, make_cases, read_photos, render
from benchmarks.real.markdown import kind_table, title
from benchmarks.real.networks import add_options, check_options, find_networks
from benchmarks.real.score import score_all
from benchmarks.real.summary import describe, summarise
from srkd.metrics.text import INSTALL
from srkd.upscaling.opening import default_weights

HERE = Path(__file__).resolve().parent
PHOTO_KINDS = ("clean", "camera", "web")


def to_markdown(result: Mapping[str, Any]) -> str:
    parts = [
        f"The default is {result['default']}. Means over pictures; a difference counts where its 95 % paired "
        f"interval over pictures is clear of 0. PSNR under {result['protocol']}; artefacts are in 8-bit "
        "levels; text is Tesseract's error rate against what it reads in HR. Lower is better, of PSNR higher."
    ]
    if not result["text"]:
        parts.append("Text was not measured: Tesseract is not installed.")
    for kind, entries in result["kinds"].items():
        parts += [
            f"**{kind}**",
            kind_table(entries),
            verdicts(entries, result["default"]),
        ]
    return "\n\n".join(parts) + "\n"


def verdicts(entries: Sequence[Mapping[str, Any]], default: str) -> str:
    """A line for each network: what it is better and worse in than the default. Nearness to the teacher is
    left out: who upscales a picture does not ask for it."""
    lines = []
    for entry in entries:
        gaps = {name: gap for name, gap in entry["difference"].items() if not name.startswith("near")}
        sides = []
        for verdict in (BETTER, WORSE):
            names = [title(name) for name, gap in gaps.items() if gap["verdict"] == verdict]
            sides += [f"{verdict} in {', '.join(names)}"] if names else []
        if gaps:
            lines.append(f"- {entry['network']}: {'; '.join(sides) or 'not told apart'}")
    return f"Against {default}:\n\n" + "\n".join(lines)


def work(arguments: Namespace) -> None:
    check_options(arguments)
    check_at_least(1, draws=arguments.draws, count=arguments.count)
    check_output("--json", arguments.json, ".json")
    text = shutil.which("tesseract") is not None
    if not text:
        console.print(f"text is left out: {INSTALL}", markup=False)
    networks = find_networks(arguments.teacher, arguments.students, arguments.threads)
    photos = read_photos(arguments.data, arguments.held_out)
    cases = list(make_cases(photos, PHOTO_KINDS, arguments.draws, arguments.seed))
    for kind in RENDERED:
        cases += make_cases(render(kind, arguments.count), [kind], 1, arguments.seed)
    rows = score_all(cases, networks, arguments.cache, text)
    result = {
        **describe(networks),
        "default": default_weights(),
        "text": text,
        "seed": arguments.seed,
        "draws": arguments.draws,
        "kinds": summarise(rows, networks, default_weights()),
    }
    write_report(arguments.json, result, to_markdown(result))


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_options(parser)
    add = parser.add_argument
    add("--draws", type=int, default=1, help="degradations of each photograph and kind")
    add("--count", type=int, default=10, help="pages, and screenshots")
    add(
        "--json",
        type=Path,
        default=HERE / "default.json",
        help="file for the figures; default.md goes beside it",
    )
    run_script(parser, work, words, "interrupted; run the same command to resume")


if __name__ == "__main__":
    main()
