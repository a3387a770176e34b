"""Animated GIF, WebP and PNG through `srkd upscale`."""

from pathlib import Path

import numpy as np
import pytest
from conftest import bicubic, views, write_clip
from PIL import Image

import srkd
from srkd.cli import main
from srkd.upscaling import moving

DURATIONS = [100, 50, 70, 200, 30, 400]


def still_and_moving(photo: np.ndarray, alpha: bool = False) -> list[Image.Image]:
    """A square that moves over a photograph; or a photograph seen through a round hole that moves."""
    found = []
    for number in range(6):
        values = np.dstack([photo[:24, :32], np.full((24, 32), 255, np.uint8)])
        if alpha:
            y, x = np.mgrid[:24, :32]
            values[(y - 12) ** 2 + (x - 6 - 4 * number) ** 2 > 36] = 0
        else:
            values[4:12, 2 + 4 * number : 8 + 4 * number, :3] = [255, 0, 0]
        found.append(Image.fromarray(values if alpha else values[..., :3].copy()))
    return found


def save(path: Path, frames: list[Image.Image], **options) -> Path:
    options = {"duration": DURATIONS, "loop": 0, **options}
    frames[0].save(
        path, "PNG" if path.suffix == ".apng" else None, save_all=True, append_images=frames[1:], **options
    )
    return path


def read(path: Path) -> tuple[list[np.ndarray], list[float], int | None]:
    """Drawn frames, RGBA; durations in milliseconds; and what is said of loops."""
    frames, durations = [], []
    with Image.open(path) as file:
        for number in range(getattr(file, "n_frames", 1)):
            file.seek(number)
            frames.append(np.array(file.convert("RGBA")))
            durations.append(file.info.get("duration", 0))
        return frames, durations, file.info.get("loop")


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".apng"])
def test_frames_times_loops_and_transparency(tmp_path, photo, suffix, alpha):
    options = {".webp": {"lossless": True}, ".gif": {"disposal": 2 if alpha else 1}}.get(suffix, {})
    source = save(tmp_path / f"in{suffix}", still_and_moving(photo, alpha), loop=3, **options)
    out = bicubic(source, tmp_path / f"out{suffix}")
    before, after = read(source), read(out)
    assert after[1:] == before[1:] and before[1:] == (DURATIONS, 3)
    for small, large in zip(before[0], after[0], strict=True):
        expected = np.array(srkd.upscale_image(Image.fromarray(small).convert("RGBA"), "bicubic"))
        if suffix == ".gif":
            expected[..., 3] = np.where(expected[..., 3] >= 128, 255, 0)
        assert np.array_equal(large[..., 3], expected[..., 3])
        seen = expected[..., 3] > 0
        errors = abs(large[seen][:, :3].astype(int) - expected[seen][:, :3])
        assert errors.mean() < 3 if suffix == ".gif" else errors.max() <= 1


@pytest.mark.parametrize("suffix", [".gif", ".png"])
@pytest.mark.parametrize("alpha", [False, True])
def test_ffmpeg_draws_the_same(tmp_path, photo, suffix, alpha):
    av = pytest.importorskip("av")
    options = {"disposal": 2 if alpha else 1} if suffix == ".gif" else {}
    source = save(tmp_path / f"in{suffix}", still_and_moving(photo, alpha), **options)
    out = bicubic(source, tmp_path / f"out{suffix}")
    frames, _, _ = read(out)
    with av.open(str(out)) as file:
        drawn = [frame.to_ndarray(format="rgba") for frame in file.decode(video=0)]
        times = [round(float(frame.time) * 1000) for frame in av.open(str(out)).decode(video=0)]
    assert times == [sum(DURATIONS[:k]) for k in range(6)]
    for ours, theirs in zip(frames, drawn, strict=True):
        assert np.array_equal(ours[..., 3], theirs[..., 3])
        assert np.array_equal(ours[ours[..., 3] > 0], theirs[ours[..., 3] > 0])


def test_a_gif_that_restores_what_was_there(tmp_path, photo):
    """Disposal 3, and frames smaller than the whole."""
    frames = still_and_moving(photo)
    source = save(tmp_path / "in.gif", frames, disposal=[1, 3, 3, 1, 3, 1], optimize=True)
    before, after = read(source)[0], read(bicubic(source, tmp_path / "out.webp", scale=1))[0]
    assert all(np.array_equal(a[..., :3], b[..., :3]) for a, b in zip(before, after, strict=True))


def test_what_stands_still_does_not_flicker(tmp_path, photo):
    """A GIF's palettes differ from frame to frame; what does not change is not drawn again."""
    source = save(tmp_path / "in.webp", still_and_moving(photo), lossless=True)
    frames = np.array(read(bicubic(source, tmp_path / "out.gif"))[0])
    assert (frames[0] != frames[5]).any() and (frames[:, 88:] == frames[0, 88:]).all()


@pytest.mark.parametrize(("suffix", "loop"), [(".gif", None), (".gif", 0), (".webp", 5), (".png", 1)])
def test_loops(tmp_path, photo, suffix, loop):
    """In other formats too: a GIF counts repetitions, the others how often it is played."""
    frames = still_and_moving(photo)
    source = tmp_path / f"in{suffix}"
    options = {} if loop is None else {"loop": loop}
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=40, **options)
    assert read(bicubic(source, tmp_path / f"out{suffix}"))[2] == loop
    plays = {None: 1, 0: 0}.get(loop, loop + 1 if suffix == ".gif" and loop else loop)
    assert read(bicubic(source, tmp_path / "o.webp"))[2] == plays
    assert read(bicubic(source, tmp_path / "o.gif"))[2] == {0: 0, 1: None}.get(plays, (plays or 0) - 1)


def test_times_that_do_not_fit_do_not_add_up(tmp_path, photo):
    """Thirtieths of a second, in a format of hundredths."""
    frames = still_and_moving(photo) * 5
    source = save(tmp_path / "in.png", frames, duration=[100 / 3] * 30)
    for suffix, total in ((".gif", 1000), (".webp", 1000), (".png", 1000)):
        durations = read(bicubic(source, tmp_path / f"out{suffix}"))[1]
        assert sum(durations) == pytest.approx(total, abs=0.1) and len(durations) == 30


def test_an_animation_becomes_a_clip_and_back(tmp_path, photo):
    av = pytest.importorskip("av")
    source = save(tmp_path / "in.gif", still_and_moving(photo, alpha=True), disposal=2)
    out = bicubic(source, tmp_path / "out.mp4")
    with av.open(str(out)) as file:
        stream = file.streams.video[0]
        packets = [p for p in file.demux(stream) if p.size]
        assert sorted(round(float(p.pts * p.time_base) * 1000) for p in packets) == [
            0,
            100,
            150,
            220,
            420,
            450,
        ]
        assert max(float((p.pts + p.duration) * p.time_base) for p in packets) == pytest.approx(
            0.85, abs=1e-3
        )
    first = next(av.open(str(out)).decode(video=0)).to_ndarray(format="rgb24")
    assert first[-1, -1].min() > 250, "transparency is put on white"
    clip = write_clip(tmp_path / "in.mkv", views(photo, 5))
    for name in ("back.gif", "back.webp", "back.apng"):
        frames, durations, loop = read(bicubic(clip, tmp_path / name))
        assert len(frames) == 5 and durations == [40] * 5 and loop in (None, 1)


def test_it_goes_on_after_an_interruption(tmp_path, photo, monkeypatch):
    frames = still_and_moving(photo)
    source = save(tmp_path / "in.webp", [*frames[:3], frames[2], *frames[3:]], duration=40, lossless=True)
    real, calls = moving.enlarge, []

    def enlarge(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(moving, "enlarge", enlarge)
    words = ["upscale", str(source), "-o", str(tmp_path / "out.webp"), "-w", "bicubic"]
    assert main(words) == 130 and not (tmp_path / "out.webp").exists()
    assert main(words) == 0 and len(calls) == 7
    whole = bicubic(source, tmp_path / "whole.webp")
    assert (tmp_path / "out.webp").read_bytes() == whole.read_bytes()
    assert sum(read(whole)[1]) == 280
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.webp", "out.webp", "whole.webp"]


def test_profiles_and_quality(tmp_path, photo, capsys):
    from conftest import PROFILE

    frames = still_and_moving(photo)
    sizes = []
    for quality in (10, 95):
        source = save(tmp_path / "in.webp", frames, icc_profile=PROFILE, quality=80)
        out = bicubic(source, tmp_path / f"{quality}.webp", quality=quality)
        sizes.append(out.stat().st_size)
        assert Image.open(out).info["icc_profile"] == PROFILE
    assert sizes[0] < sizes[1] / 2
    assert Image.open(bicubic(source, tmp_path / "out.png")).info["icc_profile"] == PROFILE
    capsys.readouterr()
    bicubic(source, tmp_path / "out.gif")
    said = capsys.readouterr().out
    assert "GIF has no place for a colour profile" in said and "GIF has 256 colours a frame" in said


def test_a_still_gif(tmp_path, photo, fails):
    Image.fromarray(photo).save(tmp_path / "still.gif")
    assert read(bicubic(tmp_path / "still.gif", tmp_path / "out.gif"))[0][0].shape == (240, 320, 4)
    assert Image.open(bicubic(tmp_path / "still.gif", tmp_path / "out.jpg")).format == "JPEG"
    source = save(tmp_path / "in.gif", still_and_moving(photo))
    words = ["upscale", source, "-w", "bicubic", "-o"]
    assert "in.gif is an animation; its name must end in one of" in fails(2, *words, tmp_path / "out.jpg")
    (tmp_path / "cut.gif").write_bytes(source.read_bytes()[:200])
    error = fails(1, "upscale", tmp_path / "cut.gif", "-o", tmp_path / "x.gif", "-w", "bicubic")
    assert "cut.gif" in error and not (tmp_path / "x.gif").exists()


def test_the_picture_that_stands_for_an_animation_is_none_of_it(tmp_path, photo):
    frames = still_and_moving(photo)
    source = save(tmp_path / "in.png", frames, default_image=True, duration=40)
    found = read(bicubic(source, tmp_path / "out.webp"))
    assert len(found[0]) == 5 and found[1] == [40] * 5
