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

# Frames a second, their size, samples of sound a second, and the seconds that are repeated.
RATE, SIZE, SOUND, LENGTH = 5, (24, 16), 16_000, 40


def make_clip(path: Path) -> None:
    """A view that moves over a photograph, and a tone."""
    photo = read_image(embedded_photos(["astronaut.png"])[0])[::2, ::2]
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", RATE, {"crf": "20"}, width=SIZE[0], height=SIZE[1])
        audio = file.add_stream("aac", SOUND)
        for number in range(LENGTH * RATE):
            place = number % 150
            view = np.ascontiguousarray(photo[place : place + SIZE[1], place : place + SIZE[0]])
            frame = av.VideoFrame.from_ndarray(view)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(video.encode(frame))
        for start in range(0, LENGTH * SOUND, 1024):
            wave = np.sin(np.arange(start, start + 1024) * 0.17).astype(np.float32)[None]
            tone = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.repeat(2, 0)), "fltp", "stereo")
            tone.sample_rate, tone.pts, tone.time_base = SOUND, start, Fraction(1, SOUND)
            file.mux(audio.encode(tone))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))


def repeat_clip(source: Path, target: Path, times: int) -> None:
    """The clip so many times, its packets copied."""
    with av.open(str(target), "w") as new:
        streams: dict[int, Any] = {}
        for turn in range(times):
            with av.open(str(source)) as old:
                for stream in old.streams:
                    if turn == 0:
                        streams[stream.index] = new.add_stream_from_template(stream, opaque=True)
                for packet in old.demux():
                    # The encoder's delay gives sound a packet before its start.
                    if packet.size and packet.pts >= 0:
                        move = round(turn * LENGTH / packet.time_base)
                        packet.pts, packet.dts = packet.pts + move, packet.dts + move
                        packet.stream = streams[packet.stream.index]
                        new.mux(packet)


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
    frames = arguments.seconds // LENGTH * LENGTH * RATE
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        make_clip(Path(folder) / "short.mp4")
        repeat_clip(Path(folder) / "short.mp4", source, arguments.seconds // LENGTH)
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
