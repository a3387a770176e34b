"""`srkd upscale` of clips."""

import io
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import bicubic, read_clip, views, write_clip
from PIL import Image

import srkd
from srkd.cli import main
from srkd.images.resample import upscale_bicubic
from srkd.upscaling import moving

av = pytest.importorskip("av")


def stream_of(path: Path, kind: str = "video") -> SimpleNamespace:
    with av.open(str(path)) as file:
        stream = next(one for one in file.streams if one.type == kind)
        context, packets = stream.codec_context, [p for p in file.demux(stream) if p.size]
        found = {name: getattr(context, name, None) for name in ("name", "pix_fmt", "width", "height")}
        found |= {
            name: int(getattr(context, name, 0)) for name in ("colorspace", "color_range", "color_primaries")
        }
        return SimpleNamespace(
            **found,
            aspect=stream.sample_aspect_ratio if kind == "video" else None,
            data=[bytes(p) for p in packets],
            times=[float(p.pts * p.time_base) for p in packets],
            dts=[float(p.dts * p.time_base) for p in packets if p.dts is not None],
            end=max(float((p.pts + (p.duration or 0)) * p.time_base) for p in packets),
            language=stream.metadata.get("language"),
        )


def parts_of(path: Path) -> list[Path]:
    return list(path.parent.glob(".srkd-*"))


def test_a_clip_keeps_times_sound_and_tags(tmp_path, photo):
    """At variable frame rate, with frames that the encoder reorders; and so does the larger one."""
    times = [k * 40 + (k // 7) * 13 for k in range(60)]
    tags = {"colorspace": 1, "color_range": 2, "color_primaries": 1, "sample_aspect_ratio": Fraction(4, 3)}
    source = write_clip(
        tmp_path / "in.mkv",
        views(photo, 60),
        "libx264",
        pixels="yuv420p",
        times=times,
        unit=Fraction(1, 1000),
        sound=2.6,
        **tags,
    )
    for name in ("out.mp4", "out.mkv", "out.mov"):
        out = bicubic(source, tmp_path / name)
        before, after = stream_of(source), stream_of(out)
        assert (after.name, after.width, after.height, after.pix_fmt) == ("h264", 128, 96, "yuvj420p")
        assert sorted(after.times) == pytest.approx(sorted(before.times), abs=1e-3) and len(after.times) == 60
        # Matroska tells no duration of a frame.
        assert after.end == pytest.approx(before.end, abs=0.02)
        assert all(a < b for a, b in zip(after.dts, after.dts[1:], strict=False)), "decoding times rise"
        late = len(after.times) - len(after.dts)  # Matroska stores none, and FFmpeg finds most
        assert all(d <= t for d, t in zip(after.dts, after.times[late:], strict=True))
        assert (after.colorspace, after.color_range, after.color_primaries) == (1, 2, 1)
        assert after.aspect == Fraction(4, 3)
        sound = [stream_of(path, "audio") for path in (source, out)]
        assert sound[0].data == sound[1].data
        # FFmpeg knows other names of languages in MOV.
        assert sound[1].language == (None if name == "out.mov" else "deu")
        assert sound[1].times == pytest.approx(sound[0].times, abs=2e-3)
        assert not parts_of(out)


@pytest.mark.parametrize("limits", [1, 2])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
def test_colours_are_those_of_the_tags(tmp_path, photo, matrix, limits):
    frames = [
        np.full((24, 32, 3), colour, np.uint8)
        for colour in ([200, 40, 60], [30, 180, 90], [255] * 3, [0] * 3)
    ]
    source = write_clip(
        tmp_path / "in.mkv", frames, "ffv1", pixels="yuv444p", colorspace=matrix, color_range=limits
    )
    out = bicubic(source, tmp_path / "out.mkv", crf=1)
    tags = stream_of(out)
    assert (tags.colorspace, tags.color_range) == (matrix, limits)
    for frame, found in zip(frames, read_clip(out)[0], strict=True):
        assert abs(frame[0, 0].astype(int) - found[40, 60]).max() <= 4


@pytest.mark.parametrize(("size", "matrix"), [((32, 24), 6), ((1300, 16), 1)])
def test_what_says_nothing_is_taken_for_what_players_take_it_for_and_says_so(tmp_path, size, matrix):
    frames = [np.full((size[1], size[0], 3), [200, 40, 60], np.uint8)] * 2
    source = write_clip(tmp_path / "in.mkv", frames, "libx264", pixels="yuv420p")
    out = bicubic(source, tmp_path / "out.mkv", scale=1)
    assert stream_of(source).colorspace == 2 and stream_of(out).colorspace == matrix


def test_ten_bits_stay_ten_bits(tmp_path, capsys):
    ramp = np.arange(64 * 4, dtype=np.uint16)[None, :, None] * np.full((16, 1, 3), 256, np.uint16)
    source = write_clip(
        tmp_path / "in.mkv", [ramp] * 3, "ffv1", pixels="yuv444p10le", colorspace=1, color_range=1
    )
    out = bicubic(source, tmp_path / "out.mp4", scale=1, crf=1)
    assert stream_of(out).pix_fmt == "yuv420p10le"
    lumas = []
    for path in (source, out):
        with av.open(str(path)) as file:
            frame = next(file.decode(video=0))
            plane = np.frombuffer(bytes(frame.planes[0]), np.uint16).reshape(16, -1)[:, :256]
            lumas.append(plane.astype(int))
    assert len(np.unique(lumas[0])) > 230
    assert abs(lumas[0] - lumas[1]).max() <= 4 and abs((lumas[0] - lumas[1]).mean()) < 0.5
    capsys.readouterr()
    assert stream_of(bicubic(source, tmp_path / "out.webm", scale=1)).pix_fmt == "yuv420p"
    assert "left out: 10 bits become 8 (libvpx-vp9): in.mkv" in capsys.readouterr().out


IDENTITY = [65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30]
MATRICES = {
    "90": [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30],
    "180": [-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30],
    "270": [0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30],
    "mirrored": [-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30],
}
UPRIGHT = {
    "90": lambda x: np.rot90(x, -1),
    "180": lambda x: np.rot90(x, 2),
    "270": lambda x: np.rot90(x, 1),
    "mirrored": lambda x: x[:, ::-1],
}


def rotate(source: Path, target: Path, name: str) -> Path:
    """Writes a display matrix into an MP4's track header, which comes behind the movie's."""
    pack = lambda values: np.array(values, ">i4").tobytes()  # noqa: E731  # used twice
    data = source.read_bytes()
    place = data.index(b"tkhd")
    target.write_bytes(data[:place] + data[place:].replace(pack(IDENTITY), pack(MATRICES[name]), 1))
    return target


@pytest.mark.parametrize("name", MATRICES)
def test_clips_are_turned_upright(tmp_path, photo, name):
    plain = write_clip(
        tmp_path / "in.mp4",
        views(photo, 3),
        "libx264",
        pixels="yuv444p",
        encoder={"crf": "1"},
        sample_aspect_ratio=Fraction(4, 3),
    )
    turned = rotate(plain, tmp_path / "turned.mp4", name)
    out = bicubic(turned, tmp_path / "out.mkv", scale=2, crf=1)
    expected = [upscale_bicubic(np.ascontiguousarray(UPRIGHT[name](x)), 2) for x in read_clip(plain)[0]]
    found = read_clip(out)[0]
    assert found[0].shape == expected[0].shape
    assert all(abs(a.astype(int) - b).mean() < 2 for a, b in zip(expected, found, strict=True))
    assert stream_of(out).aspect == (Fraction(3, 4) if name in ("90", "270") else Fraction(4, 3))
    if shutil.which("ffmpeg"):
        command = ["ffmpeg", "-v", "error", "-i", turned, "-frames:v", "1", tmp_path / "first.png"]
        subprocess.run(command, check=True)
        first = np.asarray(Image.open(tmp_path / "first.png").convert("RGB"))
        assert abs(upscale_bicubic(first, 2).astype(int) - found[0]).mean() < 3


@pytest.mark.parametrize(
    ("name", "codec", "decoder", "pixels"),
    [
        ("a.mp4", "h265", "hevc", "yuv420p"),
        ("a.mp4", "av1", "av1", "yuv420p"),
        ("a.webm", "auto", "vp9", "yuv420p"),
        ("a.mov", "prores", "prores", "yuv422p10le"),
        ("a.mkv", "ffv1", "ffv1", "bgr0"),
    ],
)
def test_codecs(tmp_path, photo, name, codec, decoder, pixels):
    source = write_clip(tmp_path / "in.mkv", views(photo, 51))
    out = bicubic(source, tmp_path / name, codec=codec)
    with av.open(str(out)) as file:
        assert file.streams.video[0].codec.canonical_name == decoder
    assert stream_of(out).pix_fmt == pixels
    frames, times = read_clip(out)
    assert times == pytest.approx([k / 25 for k in range(51)], abs=1e-3)
    expected = [srkd.upscale_image(x, "bicubic") for x in views(photo, 51)]
    errors = [abs(a.astype(int) - b).mean() for a, b in zip(expected, frames, strict=True)]
    assert max(errors) <= (0 if codec == "ffv1" else 8)


def test_the_best_quality_is_the_largest_file(tmp_path, photo):
    source = write_clip(tmp_path / "in.mkv", views(photo, 20))
    sizes = [bicubic(source, tmp_path / f"{crf}.mp4", crf=crf).stat().st_size for crf in (5, 18, 40)]
    assert sizes == sorted(sizes, reverse=True) and sizes[2] < sizes[0] / 2


def count_calls(
    monkeypatch, stop: int | None = None, error: type[BaseException] = KeyboardInterrupt
) -> list[int]:
    """Counts the frames that are computed, and raises in the place of one."""
    real, calls = moving.enlarge, []

    def enlarge(*arguments, **options):
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(moving, "enlarge", enlarge)
    return calls


def test_a_frame_equal_to_the_last_is_not_computed_again(tmp_path, photo, monkeypatch):
    first, second, third = views(photo, 3)
    source = write_clip(tmp_path / "in.mkv", [first] * 5 + [second] * 60 + [first, third])
    calls = count_calls(monkeypatch)
    seen = []
    srkd.upscale(source, tmp_path / "out.mkv", weights="bicubic", progress=lambda *got: seen.append(got))
    assert len(calls) == 4
    assert len(read_clip(tmp_path / "out.mkv")[0]) == 67
    assert seen[-1][1:] == pytest.approx((67 * 32 * 24, 67 * 32 * 24))


@pytest.mark.parametrize("stop", [3, 48, 49, 75])
def test_ctrl_c_keeps_what_is_done(tmp_path, photo, monkeypatch, capsys, stop):
    source = write_clip(tmp_path / "in.mkv", views(photo, 80), sound=3.2)
    whole = bicubic(source, tmp_path / "whole.mp4", codec="h264")
    calls = count_calls(monkeypatch, stop)
    words = ["upscale", str(source), "-o", str(tmp_path / "out.mp4"), "-w", "bicubic"]
    assert main(words) == 130 and not (tmp_path / "out.mp4").exists()
    assert f"in.mkv: {stop - 1} frames are kept; run it again to go on" in capsys.readouterr().out
    assert main(words) == 0 and len(calls) == 81, "none is computed twice"
    assert f"going on after {stop - 1} of about 80 frames" in capsys.readouterr().out
    (a, first), (b, second) = read_clip(whole), read_clip(tmp_path / "out.mp4")
    assert first == second
    assert all(abs(x.astype(int) - y).mean() < 3 for x, y in zip(a, b, strict=True))
    assert stream_of(whole, "audio").data == stream_of(tmp_path / "out.mp4", "audio").data
    assert not parts_of(whole)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills as POSIX does")
def test_a_killed_job_ends_in_the_same_bytes(tmp_path, photo):
    source = write_clip(tmp_path / "in.mkv", views(photo, 200), sound=8)
    command = [sys.executable, "-m", "srkd", "upscale", str(source), "-w", "bicubic", "-o"]
    killed = 0
    for wanted in (1, 3):
        process = subprocess.Popen([*command, str(tmp_path / "out.mp4")], stdout=subprocess.DEVNULL)
        while process.poll() is None and len(list(tmp_path.glob(".srkd-out.mp4/0*.json"))) < wanted:
            time.sleep(0.01)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    assert killed == 2 and not (tmp_path / "out.mp4").exists()
    for name in ("out.mp4", "whole.mp4"):
        assert subprocess.run([*command, str(tmp_path / name)], capture_output=True).returncode == 0
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert len(read_clip(tmp_path / "out.mp4")[0]) == 200
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mp4", "whole.mp4"]


def test_another_job_begins_anew(tmp_path, photo, monkeypatch, capsys):
    source = write_clip(tmp_path / "in.mkv", views(photo, 60))
    count_calls(monkeypatch, 55)
    words = ["upscale", str(source), "-o", str(tmp_path / "out.mkv"), "-w", "bicubic"]
    assert main(words) == 130
    assert main([*words, "--scale", "2"]) == 0
    assert "was begun from another file or with other options, and begins anew" in capsys.readouterr().out
    assert read_clip(tmp_path / "out.mkv")[0][0].shape == (48, 64, 3)


def copy(source: Path, target: Path, kind: str, **options: str) -> None:
    """Copies one stream."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        first = next(one for one in old.streams if one.type == kind)
        stream = new.add_stream_from_template(first, opaque=True)
        for packet in old.demux(first):
            if packet.size:
                packet.stream = stream
                new.mux(packet)


def spoil(source: Path, target: Path, bad: set[int]) -> Path:
    """Copies a clip with packets that are garbage."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(p for p in old.demux(old.streams.video[0]) if p.dts is not None):
            copy = av.Packet(b"\xff\xd8garbage" if number in bad else bytes(packet))
            copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, stream
            copy.is_keyframe, copy.duration = packet.is_keyframe, packet.duration
            new.mux(copy)
    return target


def test_frames_that_cannot_be_decoded_are_told_with_their_times(tmp_path, photo, capsys):
    source = write_clip(tmp_path / "in.mkv", views(photo, 60), "mjpeg", pixels="yuvj420p", color_range=2)
    bad = spoil(source, tmp_path / "bad.mkv", {10, 11, 50})
    assert main(["upscale", str(bad), "-o", str(tmp_path / "out.mkv"), "-w", "bicubic"]) == 0
    said = capsys.readouterr().out
    assert "warning: " in said and "bad.mkv: 3 frames could not be decoded and the one before stays" in said
    assert "at 0:00:00.400 to 0:00:00.440, 0:00:02.000\n" in said
    times = read_clip(tmp_path / "out.mkv")[1]
    assert times == pytest.approx([k / 25 for k in range(60) if k not in (10, 11, 50)], abs=1e-3)
    nothing = spoil(source, tmp_path / "none.mkv", set(range(60)))
    assert main(["upscale", str(nothing), "-o", str(tmp_path / "x.mkv"), "-w", "bicubic"]) == 1
    assert "none.mkv is damaged: none of its frames can be decoded" in capsys.readouterr().err


def test_a_clip_that_is_cut_short(tmp_path, photo, capsys, fails):
    source = write_clip(tmp_path / "in.mp4", views(photo, 60), "mjpeg", pixels="yuvj420p", color_range=2)
    data = source.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    words = ["upscale", tmp_path / "cut.mp4", "-o", tmp_path / "x.mp4", "-w", "bicubic"]
    assert "cut.mp4 is not a video that can be read, or is cut short" in fails(1, *words)
    with (
        av.open(str(source)) as old,
        av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    data = (tmp_path / "fast.mp4").read_bytes()
    (tmp_path / "late.mp4").write_bytes(data[: len(data) * 2 // 3])
    assert main(["upscale", str(tmp_path / "late.mp4"), "-o", str(tmp_path / "y.mp4"), "-w", "bicubic"]) == 0
    assert "frames before what it declares" in capsys.readouterr().out
    assert 20 < len(read_clip(tmp_path / "y.mp4")[0]) < 50


def test_what_is_no_clip(tmp_path, photo, fails, monkeypatch):
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/x.ts\n")
    Image.fromarray(photo).save(tmp_path / "picture.png")
    (tmp_path / "picture.png").rename(tmp_path / "picture.mp4")
    for name in ("text", "empty", "list", "picture"):
        error = fails(1, "upscale", tmp_path / f"{name}.mp4", "-o", tmp_path / "x.mp4", "-w", "bicubic")
        assert f"{name}.mp4 is not a video that can be read" in error
    source = write_clip(tmp_path / "in.mkv", views(photo, 3), sound=1)
    copy(source, tmp_path / "sound.mp4", "audio")
    words = ["upscale", tmp_path / "sound.mp4", "-o", tmp_path / "x.mp4", "-w", "bicubic"]
    assert "sound.mp4 holds no video" in fails(1, *words)
    words = ["upscale", source, "-o", tmp_path / "x.mp4", "-w", "bicubic"]
    assert "more than 0.0001 megapixels; raise --megapixels" in fails(1, *words, "--megapixels", "0.0001")
    monkeypatch.setitem(sys.modules, "av", None)
    assert "video needs av: pip install 'srkd[video]'" in fails(2, *words)
    assert not list(tmp_path.glob("x*")) and not parts_of(tmp_path / "x")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["in.mkv", "-o", "x.mp4", "--codec", "ffv1"], ".mp4 does not hold ffv1, but h264, h265, av1, vp9"),
        (["in.mkv", "-o", "x.mp4", "--crf", "52"], "crf of h264 must be a whole number from 0 to 51, not 52"),
        (["in.mkv", "-o", "x.mp4", "--crf", "64"], "crf must be a whole number from 0 to 63, not 64"),
        (["in.mkv", "-o", "x.mov", "--codec", "prores", "--crf", "3"], "prores has no --crf"),
        (
            ["in.mkv", "-o", "x.mp4", "--quality", "9"],
            "--quality is of images and animated WebP; clips have --crf",
        ),
        (["in.mkv", "-o", "x.jpg"], "in.mkv is a clip; its name must end in one of .mp4"),
        (["in.mkv", "-o", "x.avi"], "in.mkv is a clip; its name must end in one of .mp4"),
        (["p.png", "-o", "x.mp4"], "cannot write x.mp4: its name must end in one of .png"),
        (["p.png", "-o", "x.png", "--crf", "3"], "--codec and --crf are of clips, and there is none"),
        (["in.mkv", "p.png", "-o", "x.mp4"], "several images do not fit into the file x.mp4"),
        (["in.mkv", "-o", "in.mkv", "--overwrite"], "is the image to upscale"),
        (["in.mkv", "-o", "there.mp4"], "there.mp4 exists; replace it with --overwrite"),
    ],
)
def test_misuse(tmp_path, photo, monkeypatch, fails, words, message):
    monkeypatch.chdir(tmp_path)
    write_clip(Path("in.mkv"), views(photo, 2))
    Image.fromarray(photo).save("p.png")
    Path("there.mp4").write_text("precious")
    assert message in fails(2, "upscale", *words, "-w", "bicubic")
    assert Path("there.mp4").read_text() == "precious" and not list(Path().glob("x*"))


def test_pixels_keep_their_shape(tmp_path, photo, capsys):
    """Or become square, where a container has no place for it."""
    frames = views(photo, 2)
    source = write_clip(
        tmp_path / "in.mp4", frames, "libx264", pixels="yuv420p", sample_aspect_ratio=Fraction(4, 3)
    )
    for name, codec in (("a.mp4", "vp9"), ("b.mov", "prores"), ("c.mkv", "h265"), ("d.mp4", "av1")):
        out = stream_of(bicubic(source, tmp_path / name, codec=codec))
        assert (out.aspect, out.width, out.height) == (Fraction(4, 3), 128, 96)
    assert "square" not in capsys.readouterr().out
    for name, codec in (("e.webm", "vp9"), ("f.mkv", "ffv1")):
        out = stream_of(bicubic(source, tmp_path / name, codec=codec))
        assert (out.aspect or 1, out.width, out.height) == (1, 172 if codec == "vp9" else 171, 96)
        assert "pixels of 4:3 become square" in capsys.readouterr().out


def test_sizes_in_pixels(tmp_path, photo, capsys):
    source = write_clip(tmp_path / "in.mkv", views(photo, 2))
    for options, size in (
        ({"width": 77}, (78, 58)),
        ({"height": 50}, (68, 50)),
        ({"fit": "50x60"}, (50, 38)),
    ):
        out = stream_of(bicubic(source, tmp_path / "out.mp4", overwrite=True, **options))
        assert (out.width, out.height) == size
    capsys.readouterr()
    bicubic(source, tmp_path / "less.mp4", width=16, seamless=True)
    assert "as large already, so resampled without the network: in.mkv" in capsys.readouterr().out


def test_sizes_that_are_odd(tmp_path, photo, capsys):
    source = write_clip(tmp_path / "in.mkv", views(photo, 2, (31, 23)))
    out = bicubic(source, tmp_path / "out.mp4", scale=1)
    assert stream_of(out).width, stream_of(out).height == (32, 24)
    said = capsys.readouterr().out
    assert "31x23 is written as 32x24, its border repeated: yuv420p has even sides: in.mkv" in said
    assert stream_of(bicubic(source, tmp_path / "third.mp4", scale=1 / 3)).height == 8
    assert stream_of(bicubic(source, tmp_path / "out.mkv", scale=1, codec="ffv1")).width == 31
    assert (
        len(read_clip(bicubic(write_clip(tmp_path / "1.mkv", views(photo, 1)), tmp_path / "1.mp4"))[0]) == 1
    )


def add_extras(source: Path, target: Path, folder: Path) -> Path:
    """Copies a clip, with subtitles, an attached file, chapters and a title."""
    (folder / "s.srt").write_text(
        "1\n00:00:00,500 --> 00:00:01,000\nHello\n\n2\n00:00:01,500 --> 00:00:02,000\nBye\n"
    )
    with (
        av.open(str(source)) as old,
        av.open(str(folder / "s.srt")) as texts,
        av.open(str(target), "w") as new,
    ):
        new.metadata["title"] = "A title"
        new.set_chapters(
            [{"id": 1, "start": 0, "end": 1000, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}]
        )
        streams = {
            one: new.add_stream_from_template(one, opaque=True) for one in (*old.streams, *texts.streams)
        }
        new.add_attachment("font.ttf", "font/ttf", b"a font")
        for file in (old, texts):
            for packet in file.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream]
                    new.mux(packet)
    return target


def test_subtitles_attachments_chapters_and_titles(tmp_path, photo, capsys):
    plain = write_clip(tmp_path / "plain.mkv", views(photo, 60), sound=2.4)
    source = add_extras(plain, tmp_path / "in.mkv", tmp_path)
    out = bicubic(source, tmp_path / "out.mkv")
    with av.open(str(out)) as file:
        assert [one.type for one in file.streams] == ["video", "audio", "subtitle", "attachment"]
        assert bytes(file.streams.attachments[0].data) == b"a font"
        assert file.metadata["title"] == "A title" and file.chapters()[0]["metadata"]["title"] == "One"
    assert stream_of(out, "subtitle").data == stream_of(source, "subtitle").data
    assert stream_of(out, "subtitle").times == pytest.approx([0.5, 1.5], abs=2e-3)
    assert "left out" not in capsys.readouterr().out
    for name, missing in (
        ("out.mp4", ("subtitles", "an attachment")),
        ("out.webm", ("sound (aac)", "subtitles")),
    ):
        out = bicubic(source, tmp_path / name)
        said = capsys.readouterr().out
        assert all(f"does not hold {what}" in said for what in missing), said
        assert len(read_clip(out)[0]) == 60


def test_a_folder_of_images_and_clips(tmp_path, photo, capsys, monkeypatch):
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    write_clip(folder / "a.mp4", views(photo, 3), "libx264", pixels="yuv420p")
    write_clip(folder / "deep" / "b.avi", views(photo, 3), "mjpeg", pixels="yuvj420p")
    (folder / "bad.mov").write_text("no clip")
    (folder / "code.ts").write_text("let x = 1")
    Image.fromarray(photo).save(folder / "p.jpg")
    Image.fromarray(photo).save(folder / "still.gif")
    words = ["upscale", str(folder), "-o", str(out), "-w", "bicubic"]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "1 of 5 images failed" in captured.err and "bad.mov is not a video" in captured.err
    assert "upscaled 2 images and 2 clips x4" in captured.out and "left out: 1 .ts file" in captured.out
    made = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*") if not p.name.startswith("."))
    assert made == ["a.mp4", "deep/b.mkv", "p.jpg", "still.gif"]
    (folder / "bad.mov").unlink()
    assert main(words) == 0 and "all 2 images and 2 clips were upscaled before" in capsys.readouterr().out
    # Results are no input.
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["upscale", str(folder), "-o", str(tmp_path / "other"), "-w", "bicubic"]) == 0
    said = capsys.readouterr().out
    assert "1 .mp4 file" in said and "pip install 'srkd[video]' upscales clips too" in said


def test_streams(tmp_path, photo, monkeypatch):
    source = write_clip(tmp_path / "in.mkv", views(photo, 3))
    expected = bicubic(source, tmp_path / "out.mkv").read_bytes()
    assert expected
    pipe = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", pipe)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(source.read_bytes())))
    assert srkd.upscale("-", "-", weights="bicubic", verbose=False) == []
    (tmp_path / "piped.mkv").write_bytes(pipe.buffer.getvalue())
    assert [
        np.array_equal(*pair)
        for pair in zip(*(read_clip(tmp_path / f)[0] for f in ("out.mkv", "piped.mkv")), strict=True)
    ] == [True] * 3


def test_a_full_disk_keeps_what_is_done(tmp_path, on_full_disk):
    noise = np.random.default_rng(0).integers(0, 256, (150, 48, 64, 3), dtype=np.uint8)
    source = write_clip(tmp_path / "in.mkv", list(noise))
    words = ["upscale", source, "-o", tmp_path / "out.mkv", "-w", "bicubic", "--scale", "1", "--crf", "10"]
    error = on_full_disk(400_000, *words)
    assert "File too large; free some space or choose another place" in error
    assert not (tmp_path / "out.mkv").exists() and len(list(tmp_path.glob(".srkd-out.mkv/*.json"))) >= 2
    assert main([str(word) for word in words]) == 0
    assert len(read_clip(tmp_path / "out.mkv")[0]) == 150
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]
