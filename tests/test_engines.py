"""The Ray engine, on a cluster of two workers that these tests start and stop."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import SHORT, TINY, same
from ray_work import die_once, note_start, square

import srkd
from srkd import SrkdError, UsageError
from srkd.engines import Cluster, Needs, open_engine
from srkd.images.writing import write_image
from srkd.upscaling.tasks import Opening, place

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray")

SMALL = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def address():
    from ray.cluster_utils import Cluster as Local

    local = Local(initialize_head=True, head_node_args=SMALL)
    # Workers import what the driver does.
    path = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1])))
    workers = {"env_vars": {"PYTHONPATH": path}}
    ray.init(address=local.address, log_to_driver=False, configure_logging=False, runtime_env=workers)
    yield local.address
    ray.shutdown()
    local.shutdown()


@pytest.fixture
def many(tmp_path, photo):
    """Sixty images and two files that are none."""
    folder = tmp_path / "many"
    for number in range(60):
        part = np.roll(photo, number, axis=1)[: 16 + number % 7, : 20 + number % 5]
        write_image(folder / f"{number:02d}.png", np.ascontiguousarray(part))
    for name in ("07a.png", "33b.png"):
        (folder / name).write_text("no image")
    return folder


def images(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.name[0] != "."}


def plainly(folder, out, **options):
    with pytest.raises(SrkdError) as failed:
        srkd.upscale(str(folder), str(out), **options)
    return str(failed.value)


def test_results_come_with_their_numbers_and_errors_as_values(address):
    found = dict(Cluster(ray).run(square, 100, range(6)))
    assert {k: v for k, v in found.items() if k not in (3, 4)} == {0: 100, 1: 101, 2: 104, 5: 125}
    assert str(found[3]) == "three" and str(found[4]) == "ValueError: four"
    assert [number for number, _ in Cluster(ray).run(square, 0, [9, 8, 7, 6, 5], ordered=True)] == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_a_killed_worker_s_piece_is_done_again_and_no_other_twice(address, tmp_path):
    found = dict(Cluster(ray).run(die_once, str(tmp_path), range(6)))
    assert found == {number: number for number in range(6)}
    assert {p.name: p.stat().st_size for p in tmp_path.iterdir()} == {
        str(k): 2 if k == 2 else 1 for k in range(6)
    }


def test_no_more_is_begun_than_there_is_room_for(address, tmp_path):
    taken = []

    def endless():
        for number in range(10_000):
            taken.append(number)
            yield number

    results = Cluster(ray).run(note_start, str(tmp_path), endless())
    for count in range(1, 8):
        next(results)
        assert len(taken) <= count + 4  # two slots, twice
    results.close()
    assert len(list(tmp_path.iterdir())) <= len(taken) < 20


def test_upscaling_gives_the_same_files_and_the_same_refusals(address, many, tmp_path):
    plain = plainly(many, tmp_path / "plain", weights="span_s_psnr")
    there = plainly(many, tmp_path / "there", weights="span_s_psnr", engine="ray")
    assert plain == there and "2 of 62 images failed" in plain
    assert images(tmp_path / "plain") == images(tmp_path / "there") and len(images(tmp_path / "there")) == 60


def test_a_killed_driver_s_job_resumes(address, many, tmp_path):
    words = [sys.executable, "-m", "srkd", "upscale", str(many), "-o", str(tmp_path / "there")]
    words += ["-w", "span_s_psnr", "--tta", "--engine", "ray", "--address", address]
    journal = tmp_path / "there" / ".srkd-upscale.jsonl"
    driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 200
        while not (journal.is_file() and count_done(journal) >= 5):
            assert driver.poll() is None and time.monotonic() < until
            time.sleep(0.05)
    finally:
        driver.kill()
        driver.wait()
    before = count_done(journal)
    assert before < 60
    options = {"weights": "span_s_psnr", "tta": True}
    plainly(many, tmp_path / "there", engine="ray", **options)
    plainly(many, tmp_path / "plain", **options)
    assert images(tmp_path / "plain") == images(tmp_path / "there")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    done = [entry["target"] for entry in lines if "begun" not in entry]
    assert len(done) == len(set(done)) == 60
    assert not list((tmp_path / "there").glob(".*.part*"))


def count_done(journal):
    return sum("begun" not in line for line in journal.read_text().splitlines())


@pytest.mark.parametrize("storage", ["uint8", "float16"])
def test_preparing_gives_the_same_set(address, photos, teacher, tmp_path, storage):
    options = {"teacher": str(teacher / "pretrain.safetensors"), "teacher_precision": storage}
    options |= {"degradation": "web", "draws": 2}
    plain = srkd.prepare(str(photos), str(tmp_path / "plain"), **options)
    assert srkd.prepare(str(photos), str(tmp_path / "there"), engine="ray", **options) == plain
    assert images(tmp_path / "plain") == images(tmp_path / "there")


def test_preparing_refuses_and_leaves_out_the_same(address, photos, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_text("no image")
    write_image(tmp_path / "bad" / "b.png", np.zeros((40, 40, 3), np.uint8))
    write_image(tmp_path / "bad" / "c.png", np.ones((40, 40, 3), np.uint8))
    told = []
    for engine in ("local", "ray"):
        with pytest.raises(SrkdError) as failed:
            srkd.prepare(str(tmp_path / "bad"), str(tmp_path / engine), engine=engine)
        manifest = srkd.prepare(
            str(tmp_path / "bad"), str(tmp_path / f"{engine}-left"), skip_bad=True, engine=engine
        )
        told.append((str(failed.value), manifest))
    assert told[0] == told[1] and len(told[0][1]["left_out"]) == 1


def test_comparing_gives_the_same_scores(address, photos, tmp_path):
    recipe = {**TINY, **SHORT, "data": str(photos), "threads": 1, "strategy": "pretrain"}
    recipe["methods"] = {"a": {}, "b": {"stages": {"pretrain": {"rate": 1e-4}}}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    options = {"seeds": 1, "lpips": "none"}
    plain = srkd.compare(str(tmp_path / "r.yaml"), str(tmp_path / "plain"), **options)
    there = srkd.compare(str(tmp_path / "r.yaml"), str(tmp_path / "there"), engine="ray", **options)
    assert [row["psnr"] for row in plain["rows"]] == [row["psnr"] for row in there["rows"]]
    for name in ("a-0", "b-0"):
        assert same(*(tmp_path / kind / name / "pretrain.safetensors" for kind in ("plain", "there")))
        assert not (tmp_path / "there" / name / "checkpoints").exists()
    with pytest.raises(UsageError, match="--jobs is for one machine"):
        srkd.compare(str(tmp_path / "r.yaml"), str(tmp_path / "x"), engine="ray", jobs=2, **options)


class WithGpus:
    has_gpus = True


def test_gpus_are_taken_where_the_cluster_has_some():
    opening = Opening("span_s_psnr", None, "auto", "auto", "auto", None, None, False)
    assert place(WithGpus(), opening) == (opening._replace(device="cuda"), Needs(1, 1))  # type: ignore[arg-type]  # all that is asked of it
    on_cpu = place(WithGpus(), opening._replace(device="cpu", threads=2))  # type: ignore[arg-type]  # as above
    assert on_cpu == (opening._replace(device="cpu", threads=2), Needs(2))


def test_what_cannot_be_is_said(photos, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="--address goes with --engine ray"), open_engine("local", "auto"):
        pass
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("nobody answers")))
    options = {"weights": "bicubic", "engine": "ray"}
    with pytest.raises(UsageError, match=r"no Ray cluster at nowhere:1 \(nobody answers\)"):
        srkd.upscale(str(photos), str(tmp_path / "x"), address="nowhere:1", **options)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'srkd\[ray\]'"):
        srkd.upscale(str(photos), str(tmp_path / "x"), **options)
