"""The steps of `srkd compress`: kept, continued, begun again."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from srkd import SrkdError, UsageError
from srkd.commands.compressing import photographs, race, training
from srkd.commands.compressing.recipes import RECIPES
from srkd.commands.compressing.steps import open_steps
from srkd.images.writing import write_image


def test_a_step_is_done_once(tmp_path, capsys):
    calls = []

    def work(place):
        calls.append(place)
        return {"value": (1, 2)}

    for _ in range(2):
        with open_steps(tmp_path / "out") as steps:
            assert steps.do("one", "the first", {"a": 1}, work) == {"value": [1, 2]}
    assert len(calls) == 1 and "1. the first: done before" in capsys.readouterr().out


def test_an_interrupted_step_finds_its_files(tmp_path, capsys):
    def stop(place):
        place.mkdir(parents=True)
        (place / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_steps(tmp_path) as steps:
        steps.do("one", "the first", {"a": 1}, stop)
    with open_steps(tmp_path) as steps:
        assert steps.do("one", "the first", {"a": 1}, lambda place: {"found": (place / "half").exists()})[
            "found"
        ]
    assert "continuing" in capsys.readouterr().out


def test_a_step_whose_output_is_gone_is_done_again(tmp_path, capsys):
    def work(place):
        place.mkdir(parents=True, exist_ok=True)
        (place / "file").touch()
        return {"name": "file"}

    def do():
        with open_steps(tmp_path) as steps:
            steps.do("one", "the first", {}, work, lambda found: [steps.place("one") / found["name"]])
        return capsys.readouterr().out

    do()
    place = tmp_path / "work" / "one"
    (place / "file").unlink()
    assert f"{place / 'file'} is missing: this step is done again" in do()
    assert (place / "file").is_file() and "done before" in do()


@pytest.mark.parametrize("finished", [True, False])
def test_a_changed_input_begins_again_and_is_said(tmp_path, capsys, finished):
    def work(place):
        assert not place.exists()
        place.mkdir(parents=True)
        if not finished:
            raise SrkdError("no")
        return {}

    for hours in (1, 2):
        with open_steps(tmp_path) as steps:
            if finished:
                steps.do("one", "the first", {"hours": hours, "photographs": [hours]}, work)
            else:
                with pytest.raises(SrkdError):
                    steps.do("one", "the first", {"hours": hours, "photographs": [hours]}, work)
    said = capsys.readouterr().out
    assert "hours was 1, is now 2, photographs has changed: this step starts over" in said


def test_foreign_folders_and_damage_are_refused(tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").touch()
    (tmp_path / "file").touch()
    for name, said in (("foreign", "not empty"), ("file", "is a file")):
        with pytest.raises(UsageError, match=said), open_steps(tmp_path / name):
            pass
    (tmp_path / "out" / "work").mkdir(parents=True)
    (tmp_path / "out" / "work" / "steps.json").write_text("{")
    with pytest.raises(SrkdError, match="damaged"), open_steps(tmp_path / "out"):
        pass


def test_two_commands_do_not_share_a_folder(tmp_path):
    with open_steps(tmp_path), pytest.raises(UsageError, match="another srkd compress"), open_steps(tmp_path):
        pass


def test_seconds_add_up(tmp_path):
    with open_steps(tmp_path) as steps:
        steps.do("one", "the first", {}, lambda _: {})
        assert steps.seconds["one"] >= 0
    assert json.loads((tmp_path / "work" / "steps.json").read_text())["one"]["result"] == {}


def test_an_interrupted_leg_of_a_race_keeps_its_steps(tmp_path, monkeypatch):
    """The machine's speed is measured once: with other steps the run would be another one."""
    timed, trained = iter([100, 200]), []

    def train(_settings, _phase, _start, out, plan, gentle):
        trained.append((plan, gentle))
        if len(trained) == 1:
            raise KeyboardInterrupt
        weights = out / "base.safetensors"
        out.mkdir()
        weights.touch()
        return SimpleNamespace(weights={"base": weights}, psnr={"base": 30.0})

    monkeypatch.setattr(race.training, "make_start", lambda *_: {"how": "same"})
    monkeypatch.setattr(race.training, "plan_steps", lambda *_: [{"steps": next(timed)}])
    monkeypatch.setattr(race.training, "train_phase", train)
    row = SimpleNamespace(candidate=SimpleNamespace(name="compact 8x2", options={}))
    traits, settings = SimpleNamespace(kind="psnr", restoring=False), SimpleNamespace(seed=0)

    def run():
        with open_steps(tmp_path / "out") as steps:
            steps.done["photographs"] = {"inputs": {}}
            request = SimpleNamespace(hours=1, fresh=False)
            pipeline = SimpleNamespace(steps=steps, request=request, scale=4, trained=lambda _: {})
            return race._leg(pipeline, traits, settings, row, 0, 60.0, {})

    with pytest.raises(KeyboardInterrupt):
        run()
    assert run()["psnr"] == 30.0
    assert trained == [({"steps": 100}, True)] * 2


@pytest.mark.parametrize("count", [3, 5, 7, 23])
def test_crops_are_of_all_photographs_alike(tmp_path, count):
    files = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        write_image(path, np.full((96, 96, 3), 40 * number, np.uint8))
        files.append((path, None))
    assert photographs.write_crops(files, tmp_path / "crops", 4, count, 0) == count
    names = [path.name.split("_")[0] for path in (tmp_path / "crops").iterdir()]
    shares = [names.count(f"{number:05d}") for number in range(5)]
    assert sum(shares) == count and max(shares) - min(shares) <= 1
    # Fewer crops than photographs are not those of the first ones.
    assert shares[-1] or shares[-2]


def test_a_run_of_compress_does_not_depend_on_the_folder_it_is_called_from(tmp_path, monkeypatch):
    """Its paths are part of the recipe, which must be the same one when the command is given again."""
    settings = training.Settings("/packed", "/held", "/t.pth", None, 4, 0, "cpu", "32-true")
    found = []
    for folder, start in ((tmp_path, "work/start.safetensors"), (tmp_path / "work", "start.safetensors")):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        plan = {"steps": {"pretrain": 4}, "save_every": 2}
        recipe = training.make_recipe(settings, RECIPES["psnr"][0], Path(start), Path("run"), plan, False)
        found.append(recipe.start)
    assert found[0] == found[1] == str((tmp_path / "work" / "start.safetensors").resolve())
