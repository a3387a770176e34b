"""Data sets: packed files, lists of validation images, batches, degradations."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import on_full_disk
from PIL import Image

import srkd
from srkd import SrkdError, UsageError
from srkd.data import Crops, Pair, find_pairs, open_data, read_pair
from srkd.data.degrade import degrade
from srkd.data.pairs import hash_file
from srkd.images import read_image, write_image


@pytest.fixture
def packed(photos, tmp_path):
    srkd.prepare(str(photos), str(tmp_path / "packed"))
    return tmp_path / "packed"


def hash_list(path, files):
    path.write_text("".join(f"{hash_file(file)}  {file.name}\n" for file in files))
    return str(path)


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


# Packing.


def test_a_packed_set_holds_what_the_folder_holds(photos, packed):
    loose, mapped = open_data(str(photos), 4), open_data(str(packed), 4)
    assert loose.identity == mapped.identity
    for part in ("train", "val"):
        for a, b in zip(getattr(loose, part), getattr(mapped, part), strict=True):
            assert a.name == b.name and a.sha256 == b.sha256
            np.testing.assert_array_equal(a.lr, b.lr)
            np.testing.assert_array_equal(a.hr, b.hr)
    assert isinstance(mapped.train[0].hr.base, np.ndarray) and not mapped.train[0].hr.flags.writeable
    manifest = json.loads((packed / "manifest.json").read_text())
    assert manifest["scale"] == 4 and manifest["resampler"] == "matlab-bicubic"
    held = (packed / "validation.sha256").read_text().splitlines()
    assert held == [f"{p.sha256}  {p.name}" for p in mapped.val]


def test_batches_from_a_packed_set_are_those_from_the_folder(photos, packed):
    batches = [Crops(open_data(str(d), 4).train, 32, 4, 4, [0]) for d in (photos, packed)]
    for step in range(5):
        for a, b in zip(*(crops(step) for crops in batches), strict=True):
            np.testing.assert_array_equal(a, b)


def test_packing_again_does_nothing_and_another_request_is_refused(photos, packed, tmp_path, capsys):
    before = contents(packed)
    srkd.prepare(str(photos), str(packed))
    assert "packed already" in capsys.readouterr().out and contents(packed) == before
    with pytest.raises(UsageError, match="other scale"):
        srkd.prepare(str(photos), str(packed), scale=2)
    more = shutil.copytree(photos, tmp_path / "more")
    shutil.copy(next(photos.iterdir()), more / "another.png")
    with pytest.raises(UsageError, match="other sources"):
        srkd.prepare(str(more), str(packed))
    with pytest.raises(UsageError, match="no packed data set"):
        srkd.prepare(str(photos), str(more))
    with pytest.raises(UsageError, match="packed for x4"):
        open_data(str(packed), 2)


def test_a_bad_image_is_named_or_left_out_by_choice(photos, tmp_path, capsys):
    folder = shutil.copytree(photos, tmp_path / "folder")
    (folder / "b.png").write_text("no image")
    out = tmp_path / "out"
    with pytest.raises(SrkdError, match=r"b\.png is not an image.*--skip_bad"):
        srkd.prepare(str(folder), str(out))
    with pytest.raises(UsageError, match="not finished"):
        open_data(str(out), 4)
    manifest = srkd.prepare(str(folder), str(out), skip_bad=True)
    assert "left out:" in capsys.readouterr().out
    assert [entry["name"] for entry in manifest["left_out"]] == ["b.png"]
    assert len(open_data(str(out), 4).train) == len(open_data(str(photos), 4).train)


def test_a_packed_set_is_scored_on_its_validation_images(photos, packed, tmp_path):
    held = open_data(str(packed), 4).val
    found = srkd.evaluate("bicubic", str(packed), lpips="none")
    assert [image["name"] for image in found["images"]] == [pair.name for pair in held]
    loose = tmp_path / "loose"
    loose.mkdir()
    shutil.copy(photos / held[0].name, loose)
    assert srkd.evaluate("bicubic", str(loose), lpips="none")["images"][0] == found["images"][0]
    with pytest.raises(UsageError, match="packed for x4, not x2"):
        srkd.evaluate("bicubic", str(packed), lpips="none", scale=2)


def test_div2k_is_scored_with_the_lr_images_of_the_scale(photos, tmp_path):
    for path in photos.iterdir():
        for scale in (2, 4):
            pair = read_pair(path, None, scale)
            folder = tmp_path / "DIV2K_valid_LR_bicubic" / f"X{scale}"
            write_image(folder / f"{path.stem}x{scale}.png", pair.lr)
        write_image(tmp_path / "DIV2K_valid_HR" / f"{path.stem}.png", read_image(path))
    for scale in (2, 4):
        found = srkd.evaluate("bicubic", str(tmp_path), scale=scale, lpips="none")
        plain = srkd.evaluate("bicubic", str(photos), scale=scale, lpips="none")
        assert found["mean"] == plain["mean"]


def test_a_missing_teacher_is_named_before_anything_is_packed(photos, tmp_path):
    with pytest.raises(UsageError, match="no weights file"):
        srkd.prepare(str(photos), str(tmp_path / "out"), teacher=str(tmp_path / "gone.safetensors"))
    assert not (tmp_path / "out").exists()


def test_a_lock_alone_is_no_other_folder(photos, tmp_path):
    """What is left of a process that was killed as it began."""
    (tmp_path / ".lock").touch()
    srkd.prepare(str(photos), str(tmp_path))
    assert open_data(str(tmp_path), 4).train


def test_a_commit_that_is_interrupted_writes_no_entry_twice(photos, tmp_path, monkeypatch):
    from srkd.data import packed as module

    real, calls = module._write_synced, []

    def interrupted(file, text):
        real(file, text)
        calls.append(text)
        if len(calls) == 2:  # the first is the journal's head
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "_COMMIT_BYTES", 1)
    monkeypatch.setattr(module, "_write_synced", interrupted)
    with pytest.raises(KeyboardInterrupt):
        srkd.prepare(str(photos), str(tmp_path / "out"))
    lines = (tmp_path / "out" / "journal.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 2
    srkd.prepare(str(photos), str(tmp_path / "out"))
    srkd.prepare(str(photos), str(tmp_path / "whole"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("harm", ["short", "missing", "manifest"])
def test_a_damaged_set_is_named(packed, harm):
    path = packed / ("manifest.json" if harm == "manifest" else "hr.u8")
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SrkdError, match=rf"{path.name}.*run srkd prepare again"):
        open_data(str(packed), 4)


def test_a_full_disk_ends_packing_in_one_line_and_it_goes_on_later(photos, tmp_path):
    out = tmp_path / "out"
    code, error = on_full_disk(["prepare", str(photos), str(out)], 60_000)
    assert code == 1 and error.count("\n") == 1 and "what is packed is kept" in error
    srkd.prepare(str(photos), str(out))
    assert len(open_data(str(out), 4).train) == 5


def test_killed_packing_goes_on_to_the_same_bytes(tmp_path):
    """SIGKILL at random moments; more is in the files by then than the journal knows of."""
    source, rng = tmp_path / "photos", np.random.default_rng(0)
    for number in range(60):
        write_image(source / f"{number:03d}.png", rng.integers(0, 256, (256, 240, 3), dtype=np.uint8))
    srkd.prepare(str(source), str(tmp_path / "whole"))
    code = "import sys, time\nfrom srkd.data import packed, prepare\npacked._COMMIT_SECONDS = 0.05\n"
    code += "append = packed.Appender.append\n"
    code += "def slowly(*args): append(*args); time.sleep(0.02)\npacked.Appender.append = slowly\n"
    code += "prepare.prepare(*sys.argv[1:])"
    kills, journal, dice = 0, tmp_path / "cut" / "journal.jsonl", random.Random(0)
    for _ in range(20):
        words = [sys.executable, "-c", code, str(source), str(tmp_path / "cut")]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        size = journal.stat().st_size if journal.exists() else 0
        while process.poll() is None and not (journal.exists() and journal.stat().st_size > size):
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.3))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
    assert process.returncode == 0 and kills >= 3
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_torn_journal_line_is_dropped(photos, tmp_path):
    out = tmp_path / "out"
    folder = shutil.copytree(photos, tmp_path / "folder")
    (folder / "zzz.png").write_text("no image")
    with pytest.raises(SrkdError):
        srkd.prepare(str(folder), str(out))
    journal = out / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    (out / "hr.u8").open("ab").write(b"more than the journal knows")
    srkd.prepare(str(folder), str(out), skip_bad=True)
    srkd.prepare(str(folder), str(tmp_path / "whole"), skip_bad=True)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_as_many_files_as_df2k_take_no_more_memory_than_a_few(tmp_path):
    """3,450 files, fifty of them 2K; packing them peaks where packing a tenth of them does."""
    rng = np.random.default_rng(0)
    photo = np.kron(rng.integers(0, 256, (170, 255, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    peaks = []
    for share in (10, 1):
        folder = tmp_path / f"photos{share}"
        folder.mkdir()
        for number in range(3400 // share):
            small = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            Image.fromarray(small).save(folder / f"{number:04d}.png", compress_level=1)
        for number in range(50 // share):
            photo[number, number] = number
            Image.fromarray(photo).save(folder / f"large{number:02d}.jpg")
        code = "import sys, resource; from srkd.data.prepare import prepare; prepare(*sys.argv[1:]);"
        code += "assert 'torch' not in sys.modules;"
        code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        words = [sys.executable, "-c", code, str(folder), str(tmp_path / f"packed{share}")]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)
    assert len(open_data(str(tmp_path / "packed1"), 4).train) > 3300
    assert peaks[1] < 1.2 * peaks[0] + 20, peaks


# Where the images lie.


def test_layouts_of_folders(photos, tmp_path):
    """HR and LR folders, DIV2K's names, and an LR folder of its own all give the same pairs."""
    pairs = [read_pair(*source, 4) for source in find_pairs(photos)]
    layouts = {
        "plain": ("HR", "LR", ""),
        "div2k": ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X4", "x4"),
    }
    for name, (hr, lr, suffix) in layouts.items():
        for pair in pairs:
            stem = Path(pair.name).stem
            write_image(tmp_path / name / hr / f"{stem}.png", pair.hr)
            write_image(tmp_path / name / lr / f"{stem}{suffix}.png", pair.lr)
        found = [read_pair(*source, 4) for source in find_pairs(tmp_path / name, 4)]
        for a, b in zip(pairs, found, strict=True):
            np.testing.assert_array_equal(a.lr, b.lr)
    apart = find_pairs(tmp_path / "div2k" / "DIV2K_train_HR", 4, tmp_path / "plain" / "LR")
    assert [lr.parent.name for _, lr in apart] == ["LR"] * len(pairs)
    manifest = srkd.prepare(str(tmp_path / "div2k"), str(tmp_path / "packed"))
    assert manifest["resampler"] == "given"
    (tmp_path / "div2k" / "DIV2K_valid_HR").mkdir()
    with pytest.raises(UsageError, match="several data sets"):
        find_pairs(tmp_path / "div2k", 4)


# Training and validation.


def test_a_list_says_which_images_are_for_validation(photos, tmp_path):
    files = sorted(photos.iterdir())
    listed = hash_list(tmp_path / "val.sha256", files[2:4])
    packed = tmp_path / "packed"
    srkd.prepare(str(photos), str(packed), val=listed)
    for data, val in ((str(photos), listed), (str(packed), None), (str(packed), listed)):
        found = open_data(data, 4, val)
        assert [pair.name for pair in found.val] == [file.name for file in files[2:4]]
        assert len(found.train) == len(files) - 2
    (tmp_path / "strange.sha256").write_text("0" * 64 + "  gone.png\n")
    with pytest.raises(UsageError, match=r"names gone\.png"):
        open_data(str(photos), 4, str(tmp_path / "strange.sha256"))
    (tmp_path / "words.txt").write_text("these are words\n")
    with pytest.raises(UsageError, match="line 1"):
        open_data(str(photos), 4, str(tmp_path / "words.txt"))


@pytest.mark.parametrize("kind", ["folder", "packed"])
def test_training_drops_what_validation_has(photos, packed, tmp_path, capsys, kind):
    """Found by hash: the copy has another name."""
    val = tmp_path / "val"
    val.mkdir()
    files = sorted(photos.iterdir())
    shutil.copy(files[4], val / "renamed.png")
    found = open_data(str(photos if kind == "folder" else packed), 4, str(val))
    assert len(found.val) == 1 and files[4].name not in [pair.name for pair in found.train]
    assert "1 images that validation has too" in capsys.readouterr().out


def test_images_too_small_for_a_crop_are_named(packed):
    with pytest.raises(UsageError, match=r"smaller than a crop of 97.*--skip_bad"):
        open_data(str(packed), 4, smallest=97)


def test_a_set_that_changes_is_noticed(packed):
    found = open_data(str(packed), 4)
    found.check_unchanged()
    os.utime(packed / "hr.u8", ns=(1, 1))
    with pytest.raises(SrkdError, match=r"hr\.u8 was changed while training"):
        found.check_unchanged()


# Batches.


def test_rows_can_be_made_apart():
    """Two processes with half the rows each see what one process sees."""
    rng = np.random.default_rng(0)
    sizes = [(9, 11), (8, 30)]
    pairs = [
        Pair(str(k), *(rng.integers(0, 256, (h * f, w * f, 3), dtype=np.uint8) for f in (1, 4)))
        for k, (h, w) in enumerate(sizes)
    ]
    whole = Crops(pairs, 32, 6, 4, [3])(5)
    halves = [Crops(pairs, 32, 6, 4, [3], rows)(5) for rows in (range(3), range(3, 6))]
    for k in range(2):
        np.testing.assert_array_equal(whole[k], np.concatenate([half[k] for half in halves]))
    streamed = list(Crops(pairs, 32, 6, 4, [3]).stream(4, 7))
    assert len(streamed) == 3
    np.testing.assert_array_equal(streamed[1].hr, whole.hr)


# Degradation.


def test_degraded_images_are_reproducible_and_differ_from_step_to_step():
    image = torch.rand(3, 3, 48, 64)
    first = degrade(image, 4, np.random.default_rng(1))
    assert first.shape == (3, 3, 12, 16) and first.min() >= 0 and first.max() <= 1
    torch.testing.assert_close(first * 255, (first * 255).round())
    assert torch.equal(first, degrade(image, 4, np.random.default_rng(1)))
    assert not torch.equal(first, degrade(image, 4, np.random.default_rng(2)))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_degraded_images_still_show_the_same(photos, scale):
    """Over many draws an LR image is worse than bicubic's, and nearer to its own than to another's."""
    path = next(photos.glob("astronaut_0*"))
    hr = torch.from_numpy(read_image(path)).permute(2, 0, 1)[None].float() / 255
    clean = torch.nn.functional.interpolate(hr, scale_factor=1 / scale, mode="area")
    other = clean.flip(-1)
    draws = [degrade(hr, scale, np.random.default_rng(seed)) for seed in range(24)]
    near = np.mean([float((draw - clean).square().mean()) for draw in draws])
    far = np.mean([float((draw - other).square().mean()) for draw in draws])
    assert 1e-4 < near < 0.5 * far


def test_training_on_degraded_images_runs_and_repeats(photos, tmp_path):
    options = {"steps": 3, "crop": 32, "batch": 2, "model": "srgan_tiny", "strategy": "pretrain"}
    runs = [
        srkd.train(str(photos), out=str(tmp_path / name), degradation=kind, **options)
        for name, kind in (("a", "real"), ("b", "real"), ("c", "none"))
    ]
    weights = [run.weights["pretrain"].read_bytes()[-1000:] for run in runs]
    assert weights[0] == weights[1] != weights[2]
    assert runs[0].psnr == runs[1].psnr


def test_ctrl_c_keeps_what_is_packed(photos, tmp_path, monkeypatch):
    from srkd.data import prepare as module

    real = module.iter_pairs

    def interrupted(*args):
        for number, found in enumerate(real(*args)):
            if number == 3:
                signal.raise_signal(signal.SIGINT)
            yield found

    monkeypatch.setattr(module, "iter_pairs", interrupted)
    # Tests that a shell starts in the background inherit that Ctrl-C is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            srkd.prepare(str(photos), str(tmp_path / "out"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len((tmp_path / "out" / "journal.jsonl").read_text().splitlines()) == 4
    monkeypatch.setattr(module, "iter_pairs", real)
    srkd.prepare(str(photos), str(tmp_path / "out"))
    srkd.prepare(str(photos), str(tmp_path / "whole"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
