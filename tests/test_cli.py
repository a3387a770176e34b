"""The command line, as someone meets it who makes one mistake after another."""

from srkd.cli import main


def test_unknown_command_and_options(fails, photos):
    assert "choose from: quickstart" in fails(2, "upscail", "x")
    assert "--sead" in fails(2, "train", photos, "--sead", "3")
    assert "gan2gan" in fails(2, "distill", photos, "--strategy", "gan2x")
    assert "seed" in fails(2, "train", photos, "--seed", "many")
    assert "data" in fails(2, "evaluate", "bicubic")
    assert "st-lpips-vgg" in fails(2, "evaluate", "bicubic", photos, "--lpips", "nope")
    assert "--format: Expected one of 'onnx', 'safetensors'" in fails(2, "export", "x", "--format", "y")
    assert main([]) == 2


def test_wrong_paths(fails, tmp_path, photos, weights):
    empty = tmp_path / "empty"
    empty.mkdir()
    file = photos / "coffee_0.png"
    assert "no folder" in fails(2, "evaluate", "bicubic", "--data", tmp_path / "nowhere")
    assert "no images" in fails(2, "evaluate", "bicubic", "--data", empty)
    assert "is a file" in fails(2, "evaluate", "bicubic", "--data", file)
    assert "no weights file" in fails(2, "evaluate", "nothing.safetensors", "--data", photos)
    assert "no folder" in fails(2, "train", tmp_path / "nowhere", "--out", tmp_path / "r")
    assert "no images" in fails(2, "train", empty, "--out", tmp_path / "r")
    assert "no image or folder" in fails(
        2, "upscale", tmp_path / "no.png", "-o", tmp_path / "x.png", "-w", weights
    )
    assert "no weights file" in fails(2, "export", tmp_path / "no.safetensors")
    assert "no recipe" in fails(2, "train", photos, "--config", "no.yaml")
    assert "not an empty folder" in fails(2, "quickstart", photos)
    assert not (tmp_path / "r").exists() and not (tmp_path / "x.png").exists()


def test_text_named_png(capsys, tmp_path, photos, weights, fails):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.png").write_text("not a picture")
    (folder / "cut.png").write_bytes((photos / "coffee_0.png").read_bytes()[:2000])
    assert "broken.png is not an image" in fails(1, "evaluate", weights, "--data", folder)
    error = fails(1, "train", folder, "--out", tmp_path / "run", "--crop", "32", "--steps", "1")
    assert "broken.png" in error and "1 more" in error and "--skip-bad" in error
    words = ["train", folder, "--strategy", "pretrain", "--model", "srgan_tiny", "--out", tmp_path / "run"]
    words += ["--crop", "32", "--batch", "2", "--steps", "1", "--skip-bad"]
    assert main([str(word) for word in words]) == 0
    assert "left out" in capsys.readouterr().out
    error = fails(1, "upscale", folder, "-o", tmp_path / "out", "-w", weights)
    assert "2 of 8 images failed" in error and "broken.png" in error and "cut.png" in error
    assert len(list((tmp_path / "out").glob("[!.]*"))) == 6


def test_a_full_disk_keeps_the_old_file(tmp_path, photos, weights, on_full_disk):
    source = photos / "coffee_0.png"
    for words, target in (
        (["upscale", source, "-w", weights, "--overwrite", "-o"], "x.png"),
        (["export", weights, "--out"], "x.onnx"),
        (["export", weights, "--format", "safetensors", "--out"], "x.safetensors"),
        (["evaluate", "bicubic", photos, "--lpips", "none", "--json"], "x.json"),
    ):
        (tmp_path / target).write_bytes(b"precious")
        error = on_full_disk(300 if target == "x.json" else 2000, *words, tmp_path / target)
        assert "cannot write" in error
        assert (tmp_path / target).read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 4
