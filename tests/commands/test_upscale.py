"""`srkd upscale`: files, folders, and what goes wrong."""

import struct
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from conftest import bicubic, deep_png, run_python
from PIL import Image

import srkd
from srkd.cli import main
from srkd.images.photo import Photo
from srkd.images.reading import read_image
from srkd.runtimes.runner import Part
from srkd.upscaling import outputs, tasks
from srkd.upscaling.opening import Purpose
from srkd.weights.catalogue import list_shipped


def bomb(path: Path, side: int) -> Path:
    """A few kilobytes that claim to be a huge image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0" * ((side + 7) // 8 + 1) * side)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


@pytest.fixture
def library(tmp_path, photo) -> Path:
    """A folder with subfolders, files of other kinds, and files that are not what they claim."""
    folder = tmp_path / "library"
    (folder / "a" / "deep").mkdir(parents=True)
    (folder / ".thumbnails").mkdir()
    for name in ("one.png", "a/two.jpg", "a/deep/three.webp", ".thumbnails/small.png"):
        Image.fromarray(photo[:20, :24]).save(folder / name)
    Image.fromarray(photo[:1, :1]).save(folder / "dot.png")
    (folder / "text.png").write_text("not an image")
    (folder / "empty.jpg").touch()
    (folder / "cut.png").write_bytes((folder / "one.png").read_bytes()[:300])
    deep_png(folder / "cut16.png", np.full((40, 40, 3), 999, np.uint16))
    (folder / "cut16.png").write_bytes((folder / "cut16.png").read_bytes()[:100])
    frames = [Image.fromarray(photo[k : k + 9, :9]) for k in range(3)]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    Image.fromarray(photo[..., 0].astype(np.float32)).save(folder / "float.tif")
    bomb(folder / "bomb.png", 20_000)
    (folder / "notes.txt").write_text("notes")
    return folder


BAD = {"text.png", "empty.jpg", "cut.png", "cut16.png", "float.tif", "bomb.png"}


def test_upscale_a_file_and_a_folder(tmp_path, photos, weights):
    source = photos / "coffee_1.png"
    assert main(["upscale", str(source), "-o", str(tmp_path / "one.webp"), "-w", str(weights)]) == 0
    assert read_image(tmp_path / "one.webp").shape == (97 * 4, 110 * 4, 3)
    assert (
        main(["upscale", str(photos), "-o", str(tmp_path / "all"), "--weights", str(weights), "--tile", "40"])
        == 0
    )
    assert sorted(p.name for p in (tmp_path / "all").glob("[!.]*")) == sorted(
        p.name for p in photos.iterdir()
    )
    whole = srkd.upscale(str(source), str(tmp_path / "whole.png"), weights=str(weights), tile=0)[0]
    difference = read_image(whole).astype(int) - read_image(tmp_path / "all" / source.name)
    assert abs(difference).max() <= 1


def journal_of(out: Path) -> Path:
    """The only hidden file of a folder."""
    (journal,) = out.glob(".*")
    return journal


def test_a_folder_with_bad_files(capsys, tmp_path, library):
    out = tmp_path / "out"
    assert main(["upscale", str(library), "-o", str(out), "-w", "bicubic"]) == 1
    captured = capsys.readouterr()
    assert captured.err == ("srkd upscale: 6 of 11 images failed: see the lines above; the others are done\n")
    failed = [line for line in captured.out.splitlines() if line.startswith("failed: ")]
    assert {next(name for name in BAD if f"{name} " in line) for line in failed} == BAD
    assert "left out: 1 .txt file\n" in captured.out
    made = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file() and p != journal_of(out)}
    assert made == {"one.png", "a/two.jpg", "a/deep/three.webp", "dot.png", "moving.webp"}
    assert read_image(out / "dot.png").shape == (4, 4, 3)


def test_a_bomb_is_read_when_its_flag_allows_it(tmp_path, fails):
    path = bomb(tmp_path / "bomb.png", 1200)
    words = ["upscale", path, "-o", tmp_path / "x.png", "-w", "bicubic", "--scale", "0.1"]
    assert "declares 1200x1200 pixels, more than 1 megapixels" in fails(1, *words, "--megapixels", "1")
    assert main([str(word) for word in [*words, "--megapixels", "2"]]) == 0


def test_a_folder_job_resumes(tmp_path, photo, monkeypatch, capsys, fails):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(photo[:10, : 10 + number]).save(folder / f"{number}.png")
    real, calls = tasks.enlarge_file, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(tasks, "enlarge_file", interrupted)
    words = ["upscale", str(folder), "-o", str(out), "-w", "bicubic"]
    assert main(words) == 130
    assert sorted(p.name for p in out.iterdir() if p.suffix == ".png") == ["0.png", "1.png"]
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.png")}
    with journal_of(out).open("a") as file:
        file.write('{"target": "2.p')  # as a kill would leave it
    assert main(words) == 0 and len(calls) == 6
    assert "2 were done before" in capsys.readouterr().out
    assert {p.name: p.stat().st_mtime_ns for p in out.glob("[01].png")} == before
    assert main(words) == 0 and "all 5 images were upscaled before" in capsys.readouterr().out
    # A changed source is made again only when overwriting is allowed; other settings are refused alike.
    Image.fromarray(photo[:12, :12]).save(folder / "0.png")
    assert "0.png exists" in fails(2, *words)
    assert "exists" in fails(2, *words, "--scale", "2")
    assert main([*words, "--overwrite"]) == 0 and read_image(out / "0.png").shape == (48, 48, 3)
    assert main(words) == 0


def test_globs_and_several_inputs(tmp_path, photo, fails):
    for name in ("a/x.png", "a/y.jpg", "b/z.png", "b/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(photo[:8, :8]).save(tmp_path / name)
    out = srkd.upscale([str(tmp_path / "*" / "[yz].*")], str(tmp_path / "out"), weights="bicubic")
    assert [path.name for path in out] == ["y.jpg", "z.png"]
    words = [
        "upscale",
        tmp_path / "a" / "x.png",
        tmp_path / "b" / "z.png",
        "-o",
        tmp_path / "two",
        "-w",
        "bicubic",
    ]
    assert main([str(word) for word in words]) == 0
    assert sorted(p.name for p in (tmp_path / "two").glob("*.png")) == ["x.png", "z.png"]
    error = fails(2, "upscale", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c", "-w", "bicubic")
    assert "would both become" in error and not (tmp_path / "c").exists()
    assert "no images match" in fails(2, "upscale", tmp_path / "*.gif", "-o", tmp_path / "c")


def test_an_output_inside_the_input_is_no_input(tmp_path, photo):
    Image.fromarray(photo[:8, :8]).save(tmp_path / "x.png")
    for overwrite in (False, True):
        out = srkd.upscale(str(tmp_path), str(tmp_path / "large"), weights="bicubic", overwrite=overwrite)
        assert [p.relative_to(tmp_path).as_posix() for p in out] == ["large/x.png"]


def test_one_image_into_a_folder_leaves_nothing_else(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "x.png")
    (tmp_path / "out").mkdir()
    bicubic(tmp_path / "x.png", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["x.png"]


def test_format_and_quality(tmp_path, photo):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "in.png")
    kinds = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tiff": "TIFF", "bmp": "BMP"}
    for format, kind in kinds.items():
        out = srkd.upscale([str(folder)], str(tmp_path / format), weights="bicubic", format=format)
        assert [path.name for path in out] == [f"in.{format}"]
        with Image.open(out[0]) as made:
            assert (made.format, made.size) == (kind, (320, 240))
    sizes = [
        bicubic(folder / "in.png", tmp_path / f"{q}.jpg", quality=q).stat().st_size for q in (20, 60, 95)
    ]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2] / 2


def test_weights_by_what_the_images_are(fails, tmp_path, photo, capsys):
    source = tmp_path / "x.png"
    Image.fromarray(photo[:16, :16]).save(source)
    for purpose in get_args(Purpose):
        (name,) = (name for name, entry in list_shipped().items() if entry.get("for") == purpose)
        assert main(["upscale", str(source), "-o", str(tmp_path / f"{name}.png"), "--for", purpose]) == 0
        assert f"with {name} " in capsys.readouterr().out
    given = ["upscale", source, "-o", tmp_path / "a.png", "--for", "sharp", "-w", "bicubic"]
    assert "leave out --weights" in fails(2, *given)


def test_an_image_too_long_for_its_format(fails, tmp_path):
    Image.new("RGB", (4200, 2)).save(tmp_path / "long.png")
    error = fails(1, "upscale", tmp_path / "long.png", "-o", tmp_path / "x.webp", "-w", "bicubic")
    assert "16800x8" in error and "16383" in error and "--format" in error
    assert not (tmp_path / "x.webp").exists()


def photo_in(folder: Path) -> Path:
    Image.new("RGB", (4, 4)).save(folder / "other.png")
    return folder / "other.png"


def test_misuse(fails, tmp_path, photo):
    source = tmp_path / "x.png"
    Image.fromarray(photo).save(source)
    out = tmp_path / "y.png"
    assert "IMAGES is missing" in fails(2, "upscale", "-o", out)
    assert "--out is missing" in fails(2, "upscale", source)
    assert "is the image to upscale" in fails(2, "upscale", source, "-o", source, "--overwrite")
    assert "would replace itself" in fails(2, "upscale", source, "-o", tmp_path, "--overwrite")
    for option in ("tile=-1", "quality=0", "scale=0", "threads=0", "megapixels=-1"):
        error = fails(2, "upscale", source, "-o", out, f"--{option}")
        name, value = option.split("=")
        assert f"{name} must be a " in error and f", not {value}" in error
    assert "must end in one of" in fails(2, "upscale", source, "-o", tmp_path / "y.xyz")
    assert "give -o a folder" in fails(2, "upscale", source, photo_in(tmp_path), "-o", out)
    assert not out.exists()


def test_outputs_that_exist_or_cannot_be(fails, tmp_path, photos, weights):
    source, target = photos / "coffee_0.png", tmp_path / "x.png"
    target.write_bytes(b"precious")
    assert "--overwrite" in fails(2, "upscale", source, "-o", target, "-w", weights)
    assert target.read_bytes() == b"precious"
    assert main(["upscale", str(source), "-o", str(target), "-w", str(weights), "--overwrite"]) == 0
    assert "give -o a folder" in fails(2, "upscale", photos, "-o", target, "-w", weights)
    assert "must end in one of .png" in fails(2, "upscale", source, "-o", tmp_path / "x.gif", "-w", weights)
    assert "does not end in .onnx" in fails(2, "export", weights, "--out", tmp_path / "x.bin")
    assert "another --out" in fails(2, "export", weights, "--format", "safetensors")


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((4, 4, 3), np.uint8),
        [np.zeros((4, 4, 3), np.uint8)],
        Image.new("RGB", (4, 4)),
        3,
        ["a", None],
    ],
    ids=["array", "list", "pillow", "number", "none"],
)
def test_what_is_no_path_is_one_line(images, tmp_path):
    with pytest.raises(srkd.UsageError, match=r"^images are paths .*srkd\.upscale_image\(image\)$"):
        srkd.upscale(images, tmp_path / "x.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": "high"}, "quality must be a whole number from 1 to 100, not 'high'"),
        ({"quality": 90.5}, "quality must be a whole number from 1 to 100, not 90.5"),
        ({"tile": "big"}, "tile must be a whole number of pixels, 0 for the whole image, not 'big'"),
        ({"scale": float("nan")}, "scale must be a number above 0, at most 64, not nan"),
        ({"threads": True}, "threads must be a whole number above 0, not True"),
        ({"weights": ["a"]}, "weights must be a path, not a list"),
        ({"out": 3}, "out must be a path, not an int"),
        ({"images": []}, "name the images to upscale"),
        ({"backend": "tpu"}, "unknown backend 'tpu'; choose from: auto, onnxruntime, torch, openvino, ncnn"),
        (
            {"device": "cpu:0"},
            "unknown device 'cpu:0'; choose from: auto, cpu, mps, cuda, cuda:N (GPU number N)",
        ),
    ],
)
def test_wrong_options_are_one_line(options, message, tmp_path, photos):
    with pytest.raises(srkd.UsageError) as raised:
        srkd.upscale(**{"images": photos, "out": tmp_path / "out", **options})
    assert str(raised.value) == message and not (tmp_path / "out").exists()


def test_paths_silence_and_progress(tmp_path, photos, capsys):
    seen = []
    sources = sorted(photos.iterdir())[:2]
    options = {"weights": "bicubic", "verbose": False, "progress": lambda *words: seen.append(words)}
    out = srkd.upscale(sources, tmp_path / "out", **options)
    assert out == [tmp_path / "out" / path.name for path in sources]
    assert capsys.readouterr() == ("", "")
    description, done, total = seen[-1]
    area = sum(image.shape[0] * image.shape[1] for image in map(read_image, sources))
    assert (description, total) == ("upscaling", area) and done == pytest.approx(area)


def test_a_journal_that_cannot_be_written_is_one_line(tmp_path, photos):
    (tmp_path / ".srkd-upscale.jsonl").mkdir()
    with pytest.raises(srkd.SrkdError, match=r"cannot write .*srkd-upscale"):
        srkd.upscale(photos, tmp_path, weights="bicubic", verbose=False)


HEAVY = {"torch", "torchvision", "scipy", "skimage", "onnx", "spandrel", "kornia", "matplotlib"}
IMPORTED = f"""
import sys
from srkd.cli import main
code = main(sys.argv[1:])
above = [name for name in sys.modules if name.startswith(("srkd.metrics", "srkd.data", "srkd.training"))]
print(code, *sorted({HEAVY!r} & {{name.partition('.')[0] for name in sys.modules}} | set(above)))
"""


@pytest.mark.parametrize(
    "words", [[], ["-w", "bicubic"], ["--backend", "openvino"], ["--scale", "2.5", "--tta"]]
)
def test_upscaling_imports_nothing_heavy(words, tmp_path, photo):
    alpha = np.linspace(0, 255, 20 * 24).reshape(20, 24).astype(np.uint8)
    Image.fromarray(np.dstack([photo[:20, :24], alpha])).save(tmp_path / "clear.png")
    deep_png(tmp_path / "deep.png", photo[:20, :24].astype(np.uint16) * 257)
    out = run_python(IMPORTED, "upscale", str(tmp_path / "*.png"), "-o", str(tmp_path / "out"), *words)
    assert out.splitlines()[-1] == "0"


def test_listing_backends_imports_nothing_heavy():
    assert run_python(IMPORTED, "backends").splitlines()[-1] == "0"


def test_a_photograph_passes_through_six_files(tmp_path, photos):
    """From file to file, the functions that are given or return its pixels."""
    entered = set()

    def note(frame, event, argument):
        file = Path(frame.f_code.co_filename)
        if "srkd" not in file.parts or event not in ("call", "return"):
            return
        values = [argument] if event == "return" else list(frame.f_locals.values())
        if any(isinstance(value, np.ndarray | Image.Image | Photo | Part) for value in values):
            entered.add("/".join(file.with_suffix("").parts[-2:]))

    words = (next(iter(photos.iterdir())), tmp_path / "x.png")
    srkd.upscale(words[0], tmp_path / "first.png", verbose=False)
    sys.setprofile(note)
    try:
        srkd.upscale(*words, verbose=False)
    finally:
        sys.setprofile(None)
    assert entered == {
        "images/reading",
        "upscaling/enlarge",
        "runtimes/runner",
        "images/tensors",
        "runtimes/onnxruntime",
        "images/writing",
    }


@pytest.mark.parametrize(("system", "clashes"), [("linux", False), ("win32", True), ("darwin", True)])
def test_names_that_differ_in_case_alone(fails, tmp_path, photo, monkeypatch, system, clashes):
    """Windows and macOS would write both into one file."""
    monkeypatch.setattr(outputs, "sys", SimpleNamespace(platform=system))
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, name in zip(folders, ("IMG.png", "img.png"), strict=True):
        folder.mkdir()
        Image.fromarray(photo).save(folder / name)
    words = [str(word) for word in ("upscale", *folders, "-o", tmp_path / "c", "-w", "bicubic")]
    if clashes:
        assert "would both become" in fails(2, *words)
    else:
        assert main(words) == 0 and len(list((tmp_path / "c").glob("*.png"))) == 2
