"""Several processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, pretrain, read_log, train_command
from safetensors.torch import load_file

import srkd
from srkd import UsageError

PLAYERS_IN_STEP = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from conftest import critic, make_teacher
from srkd import create_generator
from srkd.config import Loss, Mutual, Stage
from srkd.recipe import Recipe
from srkd.training.setup import make_fabric
from srkd.training.state import build_state
from srkd.training.step import train_step
fabric = make_fabric(Recipe("x", "pretrain", device="cpu", devices=2, threads=1))
fabric.launch()
stage = Stage(steps=5, losses={"l1": Loss(), "hint": Loss(0.1)}, mutual=Mutual(ramp=0.0),
              critics={"hr": critic(weight=0.1, copies=1, r1=1.0, r1_every=2)})
networks = []
for k in range(2):
    torch.manual_seed(k)
    networks.append(create_generator("srgan", channels=6, blocks=2, tail="lr", norm="bn"))
state = build_state(fabric, stage, networks, {}, [make_teacher()], 0)
for step in range(4):
    torch.manual_seed(100 * step + fabric.global_rank)
    part = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 32, 32)
    halves = [(*pair, ()) for pair in zip(part[0].chunk(2), part[1].chunk(2))]
    train_step(state, halves if step % 2 else [(*part, ())], step)
modules = [m for x in state.members for m in (x.network, *x.losses.values(), x.average.module)]
modules += [c.network for c in state.critics]
flat = torch.cat([p.detach().flatten() for m in modules for p in m.parameters()])
both = fabric.all_gather(flat)
assert flat.isfinite().all() and torch.equal(both[0], both[1]), (both[0] - both[1]).abs().max()
fabric.barrier()
print("in step", flat.numel())
torch.distributed.destroy_process_group()
"""


def test_all_players_stay_in_step_on_two_processes(tmp_path):
    """Two members with critics that distil one another, adapters, R1, whole batches and batches in parts."""
    script = tmp_path / "script.py"
    script.write_text(PLAYERS_IN_STEP)
    words = [sys.executable, str(script), str(ROOT / "tests")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("in step") == 2


def test_two_processes_give_what_one_gives(photos, tmp_path):
    """The same global batch, in the PSNR stage."""
    words = ["--strategy", "pretrain", "--steps", 6, "--save-every", 2, "--device", "cpu", "--devices", 2]
    command = train_command(photos, tmp_path / "two", *words)
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    pretrain(photos, tmp_path / "one", steps=6, save_every=2, device="cpu", threads=1)
    one, two = (load_file(tmp_path / name / "pretrain.safetensors") for name in ("one", "two"))
    for key in one:
        torch.testing.assert_close(one[key], two[key], atol=1e-5, rtol=1e-4)
    entries = [e for e in read_log(tmp_path / "two") if "losses" in e]
    assert [e["step"] for e in entries] == [1, 2, 3, 4, 5, 6]


def children(pid):
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in listing.stdout.split()]


@pytest.mark.parametrize("victim", ["second", "first"])
def test_a_process_that_dies_ends_the_others(photos, tmp_path, victim):
    words = ["--strategy", "pretrain", "--steps", 100_000, "--save-every", 5, "--devices", 2]
    words = train_command(photos, tmp_path / "run", *words, "--device", "cpu")
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors)
    for _ in range(1200):
        if list((tmp_path / "run").glob("checkpoints/*.pt")):
            break
        time.sleep(0.1)
    (child,) = [pid for pid in children(process.pid) if pid != process.pid]
    os.kill(child if victim == "second" else process.pid, signal.SIGKILL)
    process.wait(60)
    for _ in range(300):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        raise AssertionError("the other process goes on")
    assert process.returncode != 0
    # Said by the other process, or, where that is busy elsewhere, by what watches over both.
    said = (tmp_path / "errors").read_text()
    assert "another process of this run died" in said or "terminated with code" in said
    assert list((tmp_path / "run").glob("checkpoints/*.pt"))


def test_two_processes_cannot_train_in_one_folder(photos, tmp_path):
    words = train_command(photos, tmp_path / "run", "--strategy", "pretrain", "--steps", 100_000)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        while not (tmp_path / "run" / "run.json").exists():
            time.sleep(0.05)
        with pytest.raises(UsageError, match="another process is training"):
            pretrain(photos, tmp_path / "run", resume=True)
        assert srkd.list_runs(str(tmp_path))[0]["state"] == "running"
    finally:
        process.kill()
        process.wait()
    assert srkd.list_runs(str(tmp_path))[0]["state"] == "interrupted"
