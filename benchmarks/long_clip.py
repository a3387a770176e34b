"""Memory of `srkd upscale` over a long clip, which is killed twice on the way.

    python benchmarks/long_clip.py [--seconds 3600] [--json benchmarks/results/long_clip.json]

A small clip with sound is repeated to that length. The command is killed (SIGKILL) after a third and two
thirds of the frames and run again; the result must have every frame at its time, and sound as long as the
source's.
"""

import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil

from srkd.data import embedded_photos
from srkd.errors import SrkdError
from srkd.images.reading import read_image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import check_output, make_parser, run_script, write_json

RATE, SIZE, SOUND, BLOCK = 15, (40, 30), 16_000, 1024


def make_clip(path: Path, seconds: int) -> None:
    """A view that moves over a photograph, the same every four seconds, and a tone."""
    photo = read_image(embedded_photos(["astronaut.png"])[0])[::4, ::4]
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", RATE, {"crf": "20"}, width=SIZE[0], height=SIZE[1])
        audio = file.add_stream("aac", SOUND)
        heard = 0
        for number in range(seconds * RATE):
            place = number % (4 * RATE)
            view = np.ascontiguousarray(photo[place : place + SIZE[1], place : place + SIZE[0]])
            frame = av.VideoFrame.from_ndarray(view)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(video.encode(frame))
            while heard < (number + 1) * SOUND // RATE:
                wave = np.sin(np.arange(heard, heard + BLOCK) * 0.17).astype(np.float32)[None]
                tone = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.repeat(2, 0)), "fltp", "stereo")
                tone.sample_rate, tone.pts, tone.time_base = SOUND, heard, Fraction(1, SOUND)
                file.mux(audio.encode(tone))
                heard += BLOCK
        file.mux(video.encode(None))
        file.mux(audio.encode(None))


def count_done(target: Path) -> int:
    """Frames in parts, of which each has 48."""
    return 48 * (len(list(target.with_name(f".srkd-{target.name}").glob("[0-9]*.json"))))


def run(source: Path, target: Path, weights: str, until: float) -> tuple[list[tuple[int, float]], bool]:
    """Runs the command, until it has done so many frames; returns frames and resident MB over time, and
    whether it ended by itself."""
    words = ["upscale", str(source), "-o", str(target), "-w", weights, "--threads", "1"]
    process = subprocess.Popen([sys.executable, "-m", "srkd", *words], stdout=subprocess.DEVNULL)
    watched, samples, done = psutil.Process(process.pid), [], 0
    while process.poll() is None:
        time.sleep(2)
        # Parts are gone when they are joined.
        done = max(done, count_done(target))
        try:
            samples.append((done, watched.memory_info().rss / 1e6))
        except psutil.NoSuchProcess:
            break
        if done >= until:
            process.kill()
            process.wait()
            return samples, False
    if process.wait():
        raise SrkdError("srkd upscale failed")
    return samples, True


def describe(path: Path) -> dict[str, Any]:
    with av.open(str(path)) as file:
        stamps = sorted(packet.pts for packet in file.demux(file.streams.video[0]) if packet.pts is not None)
        unit = file.streams.video[0].time_base
        sound = file.streams.audio[0]
        even = {round(float((b - a) * unit) * RATE, 3) for a, b in pairwise(stamps)}
        return {
            "frames": len(stamps),
            "intervals": sorted(even),
            "sound": float(sound.duration * sound.time_base),
        }


def work(arguments: Namespace) -> None:
    check_output("--json", arguments.json)
    frames = arguments.seconds * RATE
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        make_clip(source, arguments.seconds)
        samples, kills = [], 0
        start = time.monotonic()
        for until in (frames / 3, frames * 2 / 3, float("inf")):
            found, ended = run(source, target, arguments.weights, until)
            samples += found
            kills += not ended
            print(f"{'ended' if ended else 'killed'} at {count_done(target)} of {frames} frames", flush=True)
        before, after = describe(source), describe(target)
    peaks = [
        max((mb for done, mb in samples if part == min(done * 10 // frames, 9)), default=0.0)
        for part in range(10)
    ]
    found = {
        "seconds": arguments.seconds,
        "kills": kills,
        "minutes": round((time.monotonic() - start) / 60, 1),
    }
    found |= {"megabytes_by_tenth": [round(peak) for peak in peaks], "source": before, "result": after}
    print(found)
    if before != after:
        raise SrkdError(f"the result differs from its source: {before} became {after}")
    if arguments.json:
        write_json(arguments.json, found)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--weights", default="span_s_psnr")
    parser.add_argument("--json", type=Path, help="write the result here")
    run_script(parser, work)


if __name__ == "__main__":
    main()
