"""A page of crops of degraded photographs and of real low-quality pictures, enlarged by every network.

    python benchmarks/real/page.py --data PHOTOS [--held-out benchmarks/validation.sha256]
        --teacher realesrgan-x4plus.param --students [LABEL=]WEIGHTS ... [--real PICTURES]
        [--out benchmarks/real/crops.jpg]

The first `--count` photographs are degraded in turn as `real`, `web` and `camera`, with the first draws of
table.py. Every crop is the window with the most detail: of HR, or of the picture itself where there is none.
`--only` and `--columns` choose pictures and networks, as for the README's picture.
"""

import io
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from srkd.errors import SrkdError, UsageError
from srkd.files import replacing
from srkd.terminal import console, progress

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import check_at_least, check_folder, check_output, make_parser, run_script
from benchmarks.real.cases import Case, degrade, read_photos, read_real
from benchmarks.real.networks import Network, add_options, check_options, enlarge, find_networks
from benchmarks.real.sheet import Line, find_window, paint
from benchmarks.runtimes import SCALE

HERE = Path(__file__).resolve().parent
KINDS = ("real", "web", "camera")
# Of the page, in bytes.
LARGEST = 2**20
QUALITIES = (90, 85, 80, 75, 70, 60, 50)


def make_line(case: Case, networks: Sequence[Network], folder: Path, side: int) -> Line:
    """LR enlarged by nearest neighbours, every network's picture, and HR."""
    nearest = case.lr.repeat(SCALE, 0).repeat(SCALE, 1)
    top, left = find_window(nearest if case.hr is None else case.hr, side, SCALE)
    whole = {"LR": nearest, **{network.label: enlarge(network, case.lr, folder) for network in networks}}
    pictures = {label: image[top : top + side, left : left + side] for label, image in whole.items()}
    title = f"{case.name}, {case.kind}{': ' * bool(case.steps)}{case.steps}"
    return Line(title, {**pictures, "HR": None if case.hr is None else case.hr[top:, left:][:side, :side]})


def make_lines(cases: Sequence[Case], networks: Sequence[Network], arguments: Namespace) -> list[Line]:
    """The lines of `--only`, with the columns of `--columns`, or all.

    Raises:
        UsageError: a name that is not there, or a picture smaller than the crops.
    """
    only, columns = arguments.only, arguments.columns
    names = [case.name for case in cases]
    labels = ["LR", *(network.label for network in networks), "HR"]
    for option, wanted, there in (("--only", only, names), ("--columns", columns, labels)):
        if missing := [name for name in wanted or [] if name not in there]:
            raise UsageError(f"{option}: there is no {missing[0]}; there are {', '.join(there)}")
    cases = [case for case in cases if only is None or case.name in only]
    for case in cases:
        if min(case.lr.shape[:2]) * SCALE < arguments.side:
            height, width = (SCALE * side for side in case.lr.shape[:2])
            raise UsageError(
                f"--side: {case.name} is {width}x{height} when enlarged; {arguments.side} is more"
            )
    networks = [network for network in networks if columns is None or network.label in columns]
    lines = []
    with progress("enlarging", len(cases)) as advance:
        for case in cases:
            line = make_line(case, networks, arguments.cache, arguments.side)
            shown = {label: line.pictures[label] for label in columns or line.pictures}
            lines.append(line._replace(pictures=shown))
            advance(1)
    return lines


def compress(sheet: Image.Image) -> tuple[bytes, int]:
    """The page as JPEG, of the best quality that is small enough, and that quality.

    Raises:
        SrkdError: none is.
    """
    for quality in QUALITIES:
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() < LARGEST:
            return buffer.getvalue(), quality
    raise SrkdError(f"the page takes more than {LARGEST // 2**20} MiB; show fewer photographs or students")


def work(arguments: Namespace) -> None:
    check_options(arguments)
    check_at_least(1, count=arguments.count)
    check_at_least(32, side=arguments.side)
    check_folder("--real", arguments.real)
    check_output("--out", arguments.out, ".jpg")
    networks = find_networks(arguments.teacher, arguments.students, arguments.threads)
    photos = read_photos(arguments.data, arguments.held_out)[: arguments.count]
    cases = [
        degrade(photo, KINDS[number % len(KINDS)], 0, arguments.seed) for number, photo in enumerate(photos)
    ]
    cases += read_real(arguments.real) if arguments.real else []
    lines = make_lines(cases, networks, arguments)
    data, quality = compress(paint(lines, arguments.side))
    with replacing(arguments.out) as temporary:
        temporary.write_bytes(data)
    size = f"{len(lines)} pictures, JPEG {quality}, {len(data) / 2**20:.2f} MiB"
    console.print(f"{size} -> {arguments.out}", markup=False)


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_options(parser)
    add = parser.add_argument
    add("--count", type=int, default=10, help="photographs")
    add("--real", type=Path, help="folder of low-quality pictures without HR")
    add("--only", nargs="+", metavar="NAME", help="show these pictures alone")
    add(
        "--columns",
        nargs="+",
        metavar="LABEL",
        help="show these networks alone, in this order; LR and HR too",
    )
    add("--side", type=int, default=160, help="of the crops, in HR pixels")
    add("--out", type=Path, default=HERE / "crops.jpg", help="the page")
    run_script(parser, work, words, "interrupted; run the same command to resume")


if __name__ == "__main__":
    main()
