"""HR and LR in the layouts that public data sets have: paired rightly, or refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import srkd
from srkd import UsageError
from srkd.cli import main
from srkd.data import find_pairs, open_data
from srkd.data.layouts import Part, match
from srkd.data.names import kind_of, parse_stem
from srkd.images.writing import write_image

# Where HR and LR of x4 lie, with `#` for the image's own name.
LAYOUTS = {
    "plain": ("HR/#.png", "LR/#.png"),
    "scale folders": ("HR/#.png", "LR/x4/#.png"),
    "numbered": ("HR/#.png", "LR/4/#.png"),
    "EDSR": ("HR/#.png", "LR_bicubic/X4/#x4.png"),
    "DIV2K": ("DIV2K_valid_HR/#.png", "DIV2K_valid_LR_bicubic/X4/#x4.png"),
    "unknown": ("DIV2K_valid_HR/#.png", "DIV2K_valid_LR_unknown/X4/#x4.png"),
    "mild": ("DIV2K_train_HR/#.png", "DIV2K_train_LR_mild/#x4m.png"),
    "difficult": ("DIV2K_train_HR/#.png", "DIV2K_train_LR_difficult/#x4d.png"),
    "wild": ("DIV2K_train_HR/#.png", "DIV2K_train_LR_wild/#x4w1.png"),
    "scale in the name": ("DIV2K_train_HR/#.png", "DIV2K_train_LR_bicubic_X4/#x4.png"),
    "Flickr2K": ("Flickr2K/Flickr2K_HR/#.png", "Flickr2K/Flickr2K_LR_bicubic/X4/#x4.png"),
    "BasicSR": ("GTmod12/#.png", "LRbicx4/#.png"),
    "BasicSR sub": ("DIV2K_train_HR_sub/#_s001.png", "DIV2K_train_LR_bicubic/X4_sub/#_s001.png"),
    "KAIR": ("trainH/#.png", "trainL/#.png"),
    "KAIR testsets": ("HR/#.png", "LR_bicubic/X4/#x4.png"),
    "RCAN": ("HR/Set5/x4/#_HR_x4.png", "LR/Set5/x4/#_LRBI_x4.png"),
    "StableSR": ("test_HR/#.png", "test_LR/#.png"),
    "small letters": ("hr/#.png", "lr/#.png"),
    "ground truth": ("gt/#.png", "lq/#.png"),
    "HR around LR": ("#.png", "LR_bicubic/X4/#x4.png"),
    "RealSR": ("Canon/Train/4/#_HR.png", "Canon/Train/4/#_LR4.png"),
    "SelfExSR": ("image_SRF_4/#_SRF_4_HR.png", "image_SRF_4/#_SRF_4_LR.png"),
    "side by side": ("#.png", "#x4.png"),
    "marked LR": ("#.png", "#_LR.png"),
    "other suffix": ("HR/#.png", "LR/#.webp"),
}
NAMES = ["img_001", "0802", "baby"]


def build(top: Path, hr: str, lr: str, scale: int = 4, names=NAMES) -> None:
    """Gray HR images, each of a shade of its own, and black LR images."""
    for number, name in enumerate(names):
        large = np.full((48, 48 + 12 * number, 3), 128 + number, np.uint8)
        small = np.zeros((48 // scale, large.shape[1] // scale, 3), np.uint8)
        write_image(top / hr.replace("#", name), large)
        write_image(top / lr.replace("#", name), small)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout_is_paired_and_named(tmp_path, capsys, name):
    hr, lr = LAYOUTS[name]
    build(tmp_path, hr, lr)
    pairs = find_pairs(tmp_path, 4)
    wanted = {(tmp_path / hr.replace("#", name), tmp_path / lr.replace("#", name)) for name in NAMES}
    assert set(pairs) == wanted
    said = " ".join(capsys.readouterr().out.split())
    where = Path(lr).parent.as_posix()
    inside = where.removesuffix("/Set5/x4") if name == "RCAN" else where
    beside = Path(hr).parent == Path(lr).parent
    assert "3 HR images" in said and ("LR beside them" if beside else f"LR from {inside}") in said
    # Black LR cannot give a good score, and the data are packed as they are given.
    assert srkd.evaluate("bicubic", tmp_path, lpips="none", protocol="rgb-crop")["mean"]["psnr"] < 7
    assert srkd.prepare(tmp_path, tmp_path / "packed")["resampler"] == "given"
    assert all(pair.lr.max() == 0 for pair in open_data(tmp_path / "packed", 4).train)


def test_what_is_made_by_bicubic_is_said(photos, capsys):
    find_pairs(photos)
    assert capsys.readouterr().out == f"6 HR images in {photos}, LR made by MATLAB's bicubic\n"


@pytest.mark.parametrize(
    "name", ["EDSR", "scale in the name", "BasicSR", "RealSR", "SelfExSR", "mild", "side by side"]
)
def test_lr_of_another_scale_is_refused(tmp_path, name):
    hr, lr = LAYOUTS[name]
    build(tmp_path, hr, lr)
    with pytest.raises(UsageError, match=r"none for x2"):
        find_pairs(tmp_path, 2)
    # With both there, each scale has its own.
    swap = str.maketrans("4", "2")
    build(tmp_path, hr.translate(swap), lr.translate(swap), 2)
    for scale, mark in ((2, "2"), (4, "4")):
        pairs = find_pairs(tmp_path, scale)
        assert len(pairs) == 3
        assert all(
            mark in small.relative_to(tmp_path).as_posix().replace("0802", "") for _, small in pairs if small
        )


def test_several_lr_folders_are_a_choice(tmp_path, fails, capsys):
    for kind in ("bicubic", "unknown"):
        build(tmp_path, "DIV2K_valid_HR/#.png", f"DIV2K_valid_LR_{kind}/X4/#x4.png")
    error = fails(2, "evaluate", "bicubic", "--data", tmp_path)
    assert "DIV2K_valid_LR_bicubic/X4" in error and "DIV2K_valid_LR_unknown/X4" in error and "--lr" in error
    for lr in ("DIV2K_valid_LR_unknown", "DIV2K_valid_LR_unknown/X4"):
        capsys.readouterr()
        words = [
            "evaluate",
            "bicubic",
            "--data",
            str(tmp_path),
            "--lr",
            str(tmp_path / lr),
            "--lpips",
            "none",
        ]
        assert (
            main(words) == 0
            and f"LR from {tmp_path / 'DIV2K_valid_LR_unknown' / 'X4'}" in capsys.readouterr().out
        )
    # The HR folder alone means bicubic, and what lies beside it is pointed to.
    assert all(lr is None for _, lr in find_pairs(tmp_path / "DIV2K_valid_HR"))
    said = capsys.readouterr().out
    assert "DIV2K_valid_LR_bicubic, DIV2K_valid_LR_unknown" in said and "--lr" in said
    # Packing the same HR with another LR is another set.
    srkd.prepare(tmp_path, tmp_path / "packed", lr=tmp_path / "DIV2K_valid_LR_unknown")
    shutil.copytree(tmp_path / "DIV2K_valid_LR_unknown", tmp_path / "more")
    for path in (tmp_path / "more").rglob("*.png"):
        write_image(path, np.full((12, 12, 3), 99, np.uint8))
    with pytest.raises(UsageError, match="other lr_sources"):
        srkd.prepare(tmp_path, tmp_path / "packed", lr=tmp_path / "more")


def test_several_sets_are_a_choice(tmp_path):
    for name in ("Set5", "Set14"):
        build(tmp_path, f"{name}/HR/#.png", f"{name}/LR/#.png")
    with pytest.raises(UsageError, match=r"several data sets \(Set14, Set5\)"):
        find_pairs(tmp_path)
    assert len(find_pairs(tmp_path / "Set5")) == 3


def test_training_and_test_pairs_are_not_mixed(tmp_path):
    for part in ("Train", "Test"):
        build(tmp_path, f"Canon/{part}/4/#_HR.png", f"Canon/{part}/4/#_LR4.png")
    with pytest.raises(UsageError, match="holds both Train and Test"):
        find_pairs(tmp_path)


def test_other_versions_of_a_pair_are_no_hr_images(tmp_path, capsys):
    build(tmp_path, *LAYOUTS["SelfExSR"])
    for method in ("bicubic", "SRCNN", "A+"):
        shutil.copy(
            tmp_path / "image_SRF_4" / "baby_SRF_4_HR.png",
            tmp_path / "image_SRF_4" / f"baby_SRF_4_{method}.png",
        )
    assert len(find_pairs(tmp_path)) == 3
    assert "left out: 3 other versions of the same images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["HR/a.png", "HR/b.png", "LR/a.png"], "LR has no image named b"),
        (["HR/a.png", "LR/a.png", "LR/b.png"], "HR has no image named b"),
        (["HR/a.png", "HR/a.jpg", "LR/a.png"], r"a\.jpg and a\.png .* unclear"),
        (["HR/a.png", "LR/ax4.png", "LR/ax4m.png"], r"ax4\.png and ax4m\.png .* unclear"),
        (["HR/a/1.png", "HR/b/1.png", "LR/a/1.png", "LR/2.png"], "LR has no image named b/1"),
        (["LR/a.png", "notes/readme.txt"], "LR folder .* but no HR folder"),
        (["a_HR.png", "a_LR.png", "b_LR.png"], r"b_LR\.png is named as an LR image, and no HR"),
        (["a_LR.png", "b_LR.png"], "is named as an LR image, and no HR"),
        (["a_HR.png", "a_LR.png", "b.png"], r"b\.png has no LR image beside it"),
        (["a_HR.png", "a_LR.png", "a_LR4.png"], "unclear"),
        (["a.png", "a_HR.png", "a_LR.png"], "unclear"),
    ],
)
def test_what_is_unclear_is_refused(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / name, np.zeros((16, 16, 3), np.uint8)) if "." + name[-3:] != ".txt" else None
    with pytest.raises(UsageError, match=message):
        find_pairs(tmp_path)


def test_images_of_one_stem_are_told_apart_by_their_suffix(tmp_path):
    for folder in ("HR", "LR"):
        for name in ("a.jpg", "a.png"):
            write_image(tmp_path / folder / name, np.zeros((16, 16, 3), np.uint8))
    assert [(hr.name, lr and lr.name) for hr, lr in find_pairs(tmp_path)] == [
        ("a.jpg", "a.jpg"),
        ("a.png", "a.png"),
    ]


def test_images_in_subfolders_have_names_of_their_own(tmp_path, photos):
    for folder in ("one", "two"):
        shutil.copytree(photos, tmp_path / "in" / folder)
    manifest = srkd.prepare(tmp_path / "in", tmp_path / "packed")
    names = [entry["name"] for entry in manifest["images"]]
    assert len(set(names)) == 12 and names[0] == "one/astronaut_0.png"
    found = srkd.evaluate("bicubic", tmp_path / "in", lpips="none")["images"]
    assert [image["name"] for image in found] == names


def test_dry_run_lists_pairs_and_writes_nothing(tmp_path, capsys):
    build(tmp_path / "in", *LAYOUTS["EDSR"])
    found = srkd.prepare(tmp_path / "in", tmp_path / "out", dry_run=True)
    assert [Path(pair["lr"]).name for pair in found["pairs"]] == ["0802x4.png", "babyx4.png", "img_001x4.png"]
    assert f"{tmp_path / 'in' / 'HR' / 'baby.png'} <- " in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


STEMS = st.lists(
    st.text("abx14_-.HRL", min_size=1, max_size=8).filter(lambda text: not text.startswith(".")),
    min_size=1,
    max_size=6,
    unique=True,
)


@given(STEMS, st.sampled_from(["", "x4", "_x4", "x4m", "_LR", "_LR4"]), st.randoms())
def test_names_are_never_paired_wrongly(stems, mark, random):
    """LR files whose names are those of HR with a mark: paired with these, or refused."""
    hr = [Path("HR") / f"{stem}.png" for stem in stems]
    lr = [Path("LR") / f"{stem}{mark}.png" for stem in stems]
    shuffled = random.sample(lr, len(lr))
    try:
        found = match(Part(Path("HR"), hr), Part(Path("LR"), shuffled))
    except UsageError:
        # Only names that say the same without their marks are unclear.
        bases = [parse_stem(stem).base for stem in stems]
        assert len(set(bases)) < len(bases) or [parse_stem(stem + mark).base for stem in stems] != bases
    else:
        assert sorted(found) == sorted(zip(hr, lr, strict=True))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(
            (name, "HR")
            for name in ("HR", "hr", "DIV2K_train_HR", "GTmod12", "HR_sub", "HRx4", "trainH", "gt", "test_HR")
        ),
        *(
            (name, "LR")
            for name in ("LR", "lq", "LRbicx4", "LR_bicubic", "DIV2K_train_LR_x8", "trainL", "LRBI", "lr_x4")
        ),
        *(
            (name, "")
            for name in ("photos", "Mustang gt", "THREE", "hrvatska", "LRoom", "ALR", "four", "X4", "growth")
        ),
    ],
)
def test_kinds_of_folders(name, kind):
    assert kind_of(name) == kind
