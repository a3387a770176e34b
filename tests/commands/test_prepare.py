"""`srkd prepare`: packing that is repeated, refused, interrupted."""

import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import interrupt
from PIL import Image

import srkd
from srkd import SrkdError, UsageError
from srkd.data import open_data, packing
from srkd.data import packed as packed_module
from srkd.images.writing import write_image


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


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
    with pytest.raises(UsageError, match="is not a packed data set"):
        srkd.prepare(str(photos), str(more))
    with pytest.raises(UsageError, match="packed for x4"):
        open_data(str(packed), 2)


def test_a_bad_image_is_named_or_left_out_by_choice(photos, tmp_path, capsys):
    folder = shutil.copytree(photos, tmp_path / "folder")
    (folder / "b.png").write_text("no image")
    out = tmp_path / "out"
    with pytest.raises(SrkdError, match=r"b\.png is not an image.*--skip-bad"):
        srkd.prepare(str(folder), str(out))
    with pytest.raises(UsageError, match="not finished"):
        open_data(str(out), 4)
    manifest = srkd.prepare(str(folder), str(out), skip_bad=True)
    assert "left out:" in capsys.readouterr().out
    assert [entry["name"] for entry in manifest["left_out"]] == ["b.png"]
    assert len(open_data(str(out), 4).train) == len(open_data(str(photos), 4).train)


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
    real, calls = os.fsync, []

    def interrupted(file):
        real(file)
        calls.append(file)
        if len(calls) == 4:  # the journal's head, HR and LR came before the journal's first entry
            raise KeyboardInterrupt

    # Each image seems to take so long that it is committed at once.
    monkeypatch.setattr(packed_module, "time", SimpleNamespace(monotonic=itertools.count(0, 10).__next__))
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        srkd.prepare(str(photos), str(tmp_path / "out"))
    monkeypatch.undo()
    lines = (tmp_path / "out" / "journal.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 2
    srkd.prepare(str(photos), str(tmp_path / "out"))
    srkd.prepare(str(photos), str(tmp_path / "whole"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_ctrl_c_keeps_what_is_packed(photos, tmp_path, monkeypatch):
    real = packing.iter_pairs

    def interrupted(*args):
        for number, found in enumerate(real(*args)):
            if number == 3:
                interrupt()
            yield found

    monkeypatch.setattr(packing, "iter_pairs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        srkd.prepare(str(photos), str(tmp_path / "out"))
    assert len((tmp_path / "out" / "journal.jsonl").read_text().splitlines()) == 4
    monkeypatch.setattr(packing, "iter_pairs", real)
    srkd.prepare(str(photos), str(tmp_path / "out"))
    srkd.prepare(str(photos), str(tmp_path / "whole"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_torn_journal_line_is_dropped(photos, tmp_path):
    out = tmp_path / "out"
    folder = shutil.copytree(photos, tmp_path / "folder")
    (folder / "zzz.png").write_text("no image")
    with pytest.raises(SrkdError, match=r"zzz\.png is not an image"):
        srkd.prepare(str(folder), str(out))
    journal = out / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    (out / "hr.u8").open("ab").write(b"more than the journal knows")
    srkd.prepare(str(folder), str(out), skip_bad=True)
    srkd.prepare(str(folder), str(tmp_path / "whole"), skip_bad=True)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_full_disk_ends_packing_in_one_line_and_it_goes_on_later(photos, tmp_path, on_full_disk):
    out = tmp_path / "out"
    assert "what is packed is kept" in on_full_disk(60_000, "prepare", photos, out)
    srkd.prepare(str(photos), str(out))
    assert len(open_data(str(out), 4).train) == 5


# What takes two seconds elsewhere, a commit every third image, after 0.06 s.
SLOWLY = """
import itertools, sys, time, types
from srkd.commands.prepare import prepare
from srkd.data import packed
packed.time = types.SimpleNamespace(monotonic=itertools.count().__next__)
append = packed.Appender.append
def slowly(*arguments):
    append(*arguments)
    time.sleep(0.02)
packed.Appender.append = slowly
prepare(*sys.argv[1:])
"""


def test_killed_packing_goes_on_to_the_same_bytes(tmp_path):
    """SIGKILL at random moments; more is in the files by then than the journal knows of."""
    source, rng = tmp_path / "photos", np.random.default_rng(0)
    for number in range(60):
        write_image(source / f"{number:03d}.png", rng.integers(0, 256, (256, 240, 3), dtype=np.uint8))
    srkd.prepare(str(source), str(tmp_path / "whole"))
    kills, journal, dice = 0, tmp_path / "cut" / "journal.jsonl", random.Random(0)
    for _ in range(20):
        words = [sys.executable, "-c", SLOWLY, str(source), str(tmp_path / "cut")]
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
        code = "import sys, resource; from srkd.commands.prepare import prepare; prepare(*sys.argv[1:]);"
        code += "assert 'torch' not in sys.modules;"
        code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        words = [sys.executable, "-c", code, str(folder), str(tmp_path / f"packed{share}")]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)
    assert len(open_data(str(tmp_path / "packed1"), 4).train) > 3300
    assert peaks[1] < 1.2 * peaks[0] + 20, peaks
