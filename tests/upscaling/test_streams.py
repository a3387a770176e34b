"""Standard input and output in the place of files."""

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import bicubic
from PIL import Image

import srkd
from srkd.images.reading import read_image


class Output(io.TextIOWrapper):
    """Standard output as a pipe, whose bytes are kept."""

    def __init__(self):
        super().__init__(io.BytesIO())

    def bytes(self) -> bytes:
        return self.buffer.getvalue()


def give(monkeypatch, data: bytes) -> Output:
    out = Output()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    return out


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_an_image_passes_through(tmp_path, photo, monkeypatch, kind):
    """In the input's format, and the same as by way of files."""
    source = tmp_path / f"in.{kind}"
    Image.fromarray(photo).save(source)
    expected = bicubic(source, tmp_path / f"out.{kind}").read_bytes()
    monkeypatch.chdir(tmp_path)
    out = give(monkeypatch, source.read_bytes())
    assert srkd.upscale("-", "-", weights="bicubic") == []
    found = np.asarray(Image.open(io.BytesIO(out.bytes())))
    assert Image.open(io.BytesIO(out.bytes())).format == Image.open(source).format
    assert np.array_equal(found, np.asarray(Image.open(io.BytesIO(expected))))
    out = give(monkeypatch, b"")
    srkd.upscale(source, "-", weights="bicubic", format="png")
    assert out.bytes().startswith(b"\x89PNG")
    give(monkeypatch, source.read_bytes())
    srkd.upscale(["-"], "x.bmp", weights="bicubic")
    assert read_image("x.bmp").shape == (240, 320, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([source.name, f"out.{kind}", "x.bmp"])


def test_the_command_line_takes_dashes(tmp_path, photo):
    """As words of their own, and as the beginning of a name."""
    Image.fromarray(photo).save(tmp_path / "-dash.png")
    data = (tmp_path / "-dash.png").read_bytes()

    def run(*words: str, give: bytes = b"") -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "srkd", "upscale", "-w", "bicubic", *words]
        return subprocess.run(command, input=give, capture_output=True, cwd=tmp_path)

    for words in (
        ["-", "-o", "-"],
        ["-o", "-", "-"],
        ["--out", "-", "--format", "png", "-"],
        ["--out=-", "-"],
    ):
        done = run(*words, give=data)
        assert done.returncode == 0 and done.stdout.startswith(b"\x89PNG"), done.stderr
        assert done.stderr == b"upscaled 1 image x4 with bicubic (NumPy) -> standard output\n"
    assert run("-o", "a.png", "--", "-dash.png").returncode == 0
    assert run("--out=-b.png", "./-dash.png").returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["-b.png", "-dash.png", "a.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full device is simulated the Linux way")
def test_standard_output_that_is_full(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "x.png")
    command = [sys.executable, "-m", "srkd", "upscale", "-w", "bicubic", str(tmp_path / "x.png"), "-o", "-"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr == "srkd upscale: cannot write to standard output: No space left on device\n"


SEVERAL = "several images do not fit into standard output (-o -); give -o a folder"


@pytest.mark.parametrize(
    ("inputs", "out", "data", "message"),
    [
        (["-", "x.png"], "y.png", b"", "standard input (-) holds one image; name no others beside it"),
        (["x.png", "x.png"], "-", b"", SEVERAL),
        (["."], "-", b"", SEVERAL),
        (["-"], "y.png", b"", "standard input is empty"),
        (["-"], "y.png", b"text", "standard input is not an image that can be read"),
        (["-"], "-", b"\xff\xd8\xff\xe0", "standard input is not an image that can be read"),
    ],
)
def test_what_streams_cannot_hold(tmp_path, photo, monkeypatch, inputs, out, data, message):
    Image.fromarray(photo).save(tmp_path / "x.png")
    monkeypatch.chdir(tmp_path)
    given = give(monkeypatch, data)
    with pytest.raises(srkd.SrkdError) as raised:
        srkd.upscale(inputs, out, weights="bicubic")
    assert str(raised.value) == message and given.bytes() == b""
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_a_terminal_is_no_place_for_an_image(tmp_path, photo, monkeypatch):
    Image.fromarray(photo).save(tmp_path / "x.png")
    monkeypatch.setattr(give(monkeypatch, b""), "isatty", lambda: True)
    with pytest.raises(srkd.UsageError, match="standard output is a terminal"):
        srkd.upscale(tmp_path / "x.png", "-", weights="bicubic")
