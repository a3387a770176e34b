"""The tables of students for real photographs: shares, intervals, what is degraded, and the page of crops."""

import json
from importlib import import_module

import numpy as np
import pytest
from conftest import load_script

import srkd
from srkd.errors import UsageError
from srkd.files import hash_file
from srkd.images.folders import list_images
from srkd.images.reading import read_image
from srkd.images.resample import upscale_bicubic
from srkd.images.writing import write_image

table = load_script("benchmarks/real/table.py")
default = load_script("benchmarks/real/default.py")
page = load_script("benchmarks/real/page.py")
crops = load_script("benchmarks/real/crops.py")
cases, markdown, networks, shares, sheet, speed = (
    import_module(f"benchmarks.real.{name}")
    for name in ("cases", "markdown", "networks", "shares", "sheet", "speed")
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, photos):
    """Two photographs of 224x192 pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    for path in list_images(photos)[:2]:
        image = np.tile(read_image(path), (4, 4, 1))[:192, :224]
        write_image(folder / f"{path.stem}.png", image)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network that stands in for teacher and student."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    return srkd.save_generator(srkd.create_generator("srgan_tiny"), path)


def test_a_share_is_a_ratio_of_means_with_the_ends_at_0_and_1():
    bicubic, teacher = [0.6, 0.5, 0.7], [0.2, 0.3, 0.3]
    found = shares.share_of_the_way(bicubic, [0.4, 0.4, 0.5], teacher)
    assert found["share"] == pytest.approx((1.8 - 1.3) / (1.8 - 0.8))
    assert found["low"] <= found["share"] <= found["high"] < 1
    ends = [shares.share_of_the_way(bicubic, each, teacher) for each in (bicubic, teacher)]
    assert [(end["share"], end["low"], end["high"]) for end in ends] == [(0, 0, 0), (1, 1, 1)]


def test_a_student_worse_than_bicubic_has_a_negative_share_and_one_past_the_teacher_more_than_1():
    bicubic, teacher = [0.6, 0.5], [0.3, 0.21]
    assert shares.share_of_the_way(bicubic, [0.7, 0.6], teacher)["share"] < 0
    assert shares.share_of_the_way(bicubic, [0.1, 0.1], teacher)["share"] > 1


def test_there_is_no_share_of_a_way_that_the_teacher_does_not_go():
    for teacher in ([0.7, 0.8, 0.6], [0.1, 0.9, 0.5]):
        found = shares.share_of_the_way([0.6, 0.5, 0.7], [0.4, 0.4, 0.5], teacher)
        assert found == {"share": None, "why": "the teacher is not better than bicubic"}


def test_the_interval_of_a_share_is_over_photographs_and_covers_as_often_as_it_says():
    """Of shares drawn around 0.5, by 14 photographs each."""
    rng, inside, trials = np.random.default_rng(0), 0, 120
    for _ in range(trials):
        bicubic = rng.uniform(0.4, 0.7, 14)
        way = rng.uniform(0.2, 0.3, 14)
        student = bicubic - way * rng.normal(0.5, 0.1, 14)
        found = shares.share_of_the_way(bicubic, student, bicubic - way)
        inside += found["low"] <= 0.5 <= found["high"]
    assert 0.85 <= inside / trials <= 0.99
    assert shares.share_of_the_way([0.6], [0.5], [0.4])["low"] is None


def test_draws_count_within_their_picture():
    found = shares.mean_by_picture([("a", 1.0), ("a", 3.0), ("b", 5.0), ("c", None)])
    assert found == {"a": 2.0, "b": 5.0}
    gap = shares.compare(found, {"a": 1.0, "b": 4.0, "d": 9.0}, higher_is_better=True)
    assert gap["mean"] == 1.0 and gap["verdict"] == "better"
    assert shares.compare(found, {"d": 9.0}, higher_is_better=True) is None


def test_the_sheet_places_pictures_apart_and_inside():
    (width, height), places = sheet.lay_out(3, 4, 50)
    flat = [place for row in places for place in row]
    assert len(flat) == len(set(flat)) == 12
    for one in flat:
        assert 0 <= one.left <= width - 50 and sheet.ROOM <= one.top <= height - 50
        for other in flat:
            across, down = abs(one.left - other.left), abs(one.top - other.top)
            assert one == other or across >= 50 + sheet.SPACE or down >= 50 + sheet.ROOM


def test_the_sheet_shows_each_picture_under_its_label_and_leaves_none_blank():
    red, blue = (np.full((40, 40, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    image = np.asarray(
        sheet.paint([sheet.Line("one", {"a": red, "b": blue}), sheet.Line("two", {"a": blue})], 40)
    )
    _, places = sheet.lay_out(2, 2, 40)
    shown = [[image[p.top : p.top + 40, p.left : p.left + 40] for p in row] for row in places]
    assert np.array_equal(shown[0][0], red) and np.array_equal(shown[0][1], blue)
    assert np.array_equal(shown[1][0], blue) and (shown[1][1] == 255).all()


def test_the_window_is_where_the_detail_is():
    image = np.zeros((120, 200, 3), np.uint8)
    image[60:100, 120:160] = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
    assert sheet.find_window(image, 40, 4) == (60, 120)
    assert sheet.find_window(image[:40, :40], 40, 4) == (0, 0)


def test_a_seed_fixes_the_degradations_and_clean_is_bicubic(pictures):
    photos = cases.read_photos(pictures, None)
    first, again, other = (list(cases.make_cases(photos, ["real", "clean"], 2, seed)) for seed in (0, 0, 1))
    assert [(case.kind, case.draw) for case in first[:3]] == [("real", 0), ("real", 1), ("clean", 0)]
    assert all(np.array_equal(a.lr, b.lr) for a, b in zip(first, again, strict=True))
    differ = [not np.array_equal(a.lr, b.lr) for a, b in zip(first, other, strict=True)]
    assert differ == [case.kind == "real" for case in first]
    assert not np.array_equal(first[0].lr, first[1].lr)


def test_large_pictures_are_cut_and_small_ones_rejected(tmp_path):
    image = np.zeros((900, 301, 3), np.uint8)
    assert cases.cut(image, tmp_path).shape == (640, 300, 3)
    with pytest.raises(UsageError, match="191x300; pictures need 192x192"):
        cases.cut(np.zeros((300, 191, 3), np.uint8), tmp_path)


def test_a_list_of_held_out_photographs_must_be_there(pictures, tmp_path):
    paths = list_images(pictures)
    listed = tmp_path / "held.sha256"
    listed.write_text(f"{hash_file(paths[1])}  x.png\n")
    assert [photo.name for photo in cases.read_photos(pictures, listed)] == [paths[1].name]
    listed.write_text(f"{hash_file(paths[1])}  x.png\n{'0' * 64}  y.png\n")
    with pytest.raises(UsageError, match="has 1 of the 2"):
        cases.read_photos(pictures, listed)


@pytest.mark.parametrize("kind", cases.RENDERED)
def test_rendered_pictures_are_the_same_each_time_and_differ(kind):
    first, again = cases.render(kind, 3), cases.render(kind, 3)
    assert [each.sha256 for each in first] == [each.sha256 for each in again]
    assert len({each.sha256 for each in first}) == 3


def test_two_networks_of_one_label_are_refused(small):
    with pytest.raises(UsageError, match="two networks would be called small"):
        networks.find_networks(small, [str(small)], 1)
    labels = [one.label for one in networks.find_networks(small, [f"mine={small}"], 1)]
    assert labels[:2] == ["bicubic", "small"] and labels[-1] == "mine"


def test_pictures_come_from_the_cache_of_their_own_weights_and_lr(small, tmp_path):
    bicubic, teacher, *_ = networks.find_networks(small, [], 1)
    lr = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    assert np.array_equal(networks.enlarge(bicubic, lr, tmp_path), upscale_bicubic(lr, 4))
    (file,) = tmp_path.iterdir()
    write_image(file, np.zeros((32, 48, 3), np.uint8))
    assert not networks.enlarge(bicubic, lr, tmp_path).any()
    assert networks.enlarge(teacher, lr, tmp_path).any()
    assert networks.enlarge(bicubic, lr.reshape(12, 8, 3), tmp_path).shape == (48, 32, 3)


def test_times_are_ratios_within_a_turn():
    found = speed.compare_to_teacher("t", {"t": [2.0, 4.0, 6.0], "s": [1.0, 1.0, 1.0]}, {"t": 9, "s": 1})
    assert found["s"] == {
        "parameters": 1,
        "seconds": 1.0,
        "times_faster": {"median": 4.0, "quartiles": [3.0, 5.0]},
    }
    assert found["t"]["times_faster"]["median"] == 1.0


def test_the_table_is_written_from_what_was_measured(pictures, small, tmp_path):
    out = tmp_path / "table.json"
    # Without HR whole pictures are enlarged, which takes st-lpips-vgg long.
    for path in list_images(pictures):
        write_image(tmp_path / "real" / path.name, read_image(path)[:64, :64].copy())
    words = ["--data", pictures, "--teacher", small, "--kinds", "web,clean", "--draws", 1, "--turns", 0]
    words += ["--students", f"same={small}", "--real", tmp_path / "real", "--json", out]
    words += ["--cache", tmp_path / "cache"]
    table.main([str(word) for word in words])
    result = json.loads(out.read_text())
    assert list(result["kinds"]) == ["web", "clean", "real picture"]
    by_name = {entry["network"]: entry for entry in result["kinds"]["web"]}
    assert by_name["same"]["scores"]["psnr"] == by_name["small"]["scores"]["psnr"]
    assert by_name["same"]["scores"]["near st-lpips-alex"]["mean"] == 0
    assert "psnr" not in by_name["bicubic"]["difference"]
    for entry in result["kinds"]["real picture"]:
        assert {"niqe", "near st-lpips-vgg"} <= entry["scores"].keys() and "psnr" not in entry["scores"]
    text = out.with_suffix(".md").read_text()
    assert f"| same | {by_name['same']['scores']['psnr']['mean']:.2f} |" in text


def test_crops_are_of_photographs_that_are_not_held_out(pictures, tmp_path, capsys):
    held, other = list_images(pictures)
    listed = tmp_path / "held.sha256"
    listed.write_text(f"{hash_file(held)}  {held.name}\n")

    def run(out, *options):
        crops.main([str(word) for word in (pictures, tmp_path / out, "--side", 64, *options)])
        return list_images(tmp_path / out / "train")

    found = run("crops", "--held-out", listed, "--count", 3)
    assert len(found) == 3
    whole = read_image(other)
    for path in found:
        assert path.stem.startswith(tuple(f"{number:04d}_{other.stem}_" for number in range(3)))
        crop = read_image(path)
        assert crop.shape == (64, 64, 3)
        if path.stem.endswith("_1"):
            windows = np.lib.stride_tricks.sliding_window_view(whole, crop.shape)[:, :, 0]
            assert (windows == crop).all((-3, -2, -1)).any()
    assert np.array_equal(read_image(tmp_path / "crops" / "held" / f"{held.stem}_png.png"), read_image(held))
    # The same command, the same crops.
    again = run("again", "--held-out", listed, "--count", 3)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in found]
    assert len(run("all", "--count", 500)) < 500
    assert "of 500 wanted: the photographs have no more" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        run("all")
    assert "is not an empty folder" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit):
        run("large", "--side", 1000)


def test_the_page_is_a_jpeg_under_a_megabyte(pictures, small, tmp_path):
    out = tmp_path / "crops.jpg"
    words = ["--data", pictures, "--teacher", small, "--cache", tmp_path / "cache", "--out", out]
    page.main([str(word) for word in (*words, "--count", 1)])
    shown = read_image(out)
    # LR, bicubic, the teacher, three shipped students, and HR.
    (width, height), _ = sheet.lay_out(1, 7, 160)
    assert shown.shape == (height, width, 3) and out.stat().st_size < 2**20


def test_the_page_shows_what_is_chosen(pictures, small, tmp_path, capsys):
    out, name = tmp_path / "chosen.jpg", sorted(pictures.iterdir())[1].name
    words = ["--data", pictures, "--teacher", small, "--cache", tmp_path / "cache", "--out", out]

    def run(*options):
        page.main([str(word) for word in (*words, *options)])

    run("--only", name, "--columns", "HR", "bicubic", "--side", 96)
    (width, height), places = sheet.lay_out(1, 2, 96)
    shown = read_image(out)
    assert shown.shape == (height, width, 3)
    # The first column is HR, to JPEG's loss.
    _, top = places[0][0]
    hr = read_image(pictures / name)
    crop = shown[top : top + 96, :96].astype(int)
    assert any(
        np.abs(crop - hr[y : y + 96, x : x + 96]).mean() < 6
        for y in range(0, len(hr) - 95, 4)
        for x in range(0, hr.shape[1] - 95, 4)
    )
    for options, said in (
        (["--only", "none.png"], "--only: there is no none.png; there are"),
        (["--columns", "HD"], "--columns: there is no HD; there are LR, bicubic"),
        (["--side", 1000], "is 224x192 when enlarged; 1000 is more"),
    ):
        with pytest.raises(SystemExit) as end:
            run(*options)
        assert end.value.code == 2 and said in " ".join(capsys.readouterr().err.split())


def test_verdicts_say_better_and_worse_and_leave_out_the_teacher():
    gaps = {"psnr": "worse", "st-lpips-alex": "better", "near psnr": "better", "halo": "not told apart"}
    entries = [
        {"network": "base", "difference": {}},
        {"network": "other", "difference": {name: {"verdict": verdict} for name, verdict in gaps.items()}},
    ]
    assert default.verdicts(entries, "base") == (
        "Against base:\n\n- other: better in st-lpips-alex; worse in PSNR"
    )
