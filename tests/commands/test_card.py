"""Model cards say what is known, and that the rest is not."""

import pytest
from PIL import Image

import srkd
from srkd import create_generator, save_generator
from srkd.weights.catalogue import list_shipped


def test_the_card_of_shipped_weights(tmp_path):
    name = "srgan_student_lite_psnr"
    entry = list_shipped()[name]
    path = srkd.card(name, out=str(tmp_path / "card.md"))
    text = path.read_text()
    psnr = f"{entry['scores']['Set5']['psnr']:.2f}"
    for part in (f"# {name}", "179,184", entry["license"], entry["command"], "y-crop4", psnr, "Limits"):
        assert part in text
    assert "unknown" not in text and "otherwise clean" in text and "trained for fidelity" in text
    assert "From left to right" in text
    with Image.open(tmp_path / "card.png") as picture:
        assert picture.size == (2 * (3 * 160 + 8), 320)
    assert "](card.png)" in text


def test_what_nobody_recorded_is_unknown(tmp_path, weights, photos):
    text = srkd.card(str(weights), out=str(tmp_path / "c.md"), data=f"Mine={photos}").read_text()
    assert "- data: unknown" in text and "- strategy: unknown" in text and "- licence: unknown" in text
    scores = text.partition("### Artefacts")[0]
    rows = [line for line in scores.splitlines() if line.startswith("| Mine |")]
    assert len(rows) == 2 and "bicubic" in rows[0] and "y-crop4" in rows[1]
    limits = text.partition("## Limits")[2]
    assert "images it was trained on are unknown" in limits and "objective is unknown" in limits


def test_scores_measured_now_stand_for_recorded_ones_and_packed_data_do(tmp_path, photos):
    srkd.prepare(str(photos), str(tmp_path / "packed"))
    name, entry = next(iter(list_shipped().items()))
    text = srkd.card(name, out=str(tmp_path / "c.md"), data=f"Set5={tmp_path / 'packed'}").read_text()
    scores = text.partition("### Artefacts")[0]
    rows = [line.split(" | ") for line in scores.splitlines() if line.startswith("| Set5 |")]
    assert [row[1] for row in rows] == [
        "bicubic",
        "this",
    ] and f"{entry['scores']['Set5']['psnr']:.2f}" not in text
    found = srkd.evaluate("bicubic", str(tmp_path / "packed"), lpips="none")["mean"]["psnr"]
    assert rows[0][3] == f"{found:.2f}"


def test_artefacts_have_a_table_of_what_was_measured(tmp_path, weights, photos, monkeypatch):
    text = srkd.card(str(weights), out=tmp_path / "c.md", data=f"Mine={photos}").read_text()
    scores, _, artefacts = text.partition("\n### Artefacts\n\n")
    lines = artefacts.splitlines()
    # The photographs are too small for NIQE, and have too little flat ground for some.
    heads = lines[0].strip("| ").split(" | ")
    assert heads[:4] == ["data", "model", "halo", "flat-noise"] and "niqe" not in heads
    assert lines[1] == "|" + "---|" * len(heads) and "halo" not in scores
    rows = [line.strip("| ").split(" | ") for line in lines[2:4]]
    assert [row[:2] for row in rows] == [["Mine", "bicubic"], ["Mine", "this"]] and lines[4] == ""
    found = srkd.evaluate("bicubic", photos, lpips="none", metrics="halo,tint")
    halo, count = found["mean"]["halo"], found["measured"]["halo"]
    assert 0 < count < 6 and rows[0][2] == f"{halo:.4f} ({count} of 6 images)"
    assert rows[0][heads.index("tint")] == f"{found['mean']['tint']:.4f}"
    assert lines[5] == "- halo: overshoot beside strong edges, 8-bit levels; lower is better"
    assert "- niqe" not in artefacts


def test_recorded_artefacts_are_known_by_their_names(tmp_path, weights, monkeypatch):
    entry = {"scores": {"protocol": "y-crop4", "Set5": {"psnr": 30.0, "lattice": 0.5}}}
    monkeypatch.setattr("srkd.commands.card.list_shipped", lambda: {str(weights): entry})
    text = srkd.card(str(weights), out=tmp_path / "c.md").read_text()
    assert "| data | model | lattice |\n|---|---|---|\n| Set5 | this | 0.5000 |\n\n- lattice: " in text
    assert "| data | model | protocol | psnr |\n|---|---|---|---|\n| Set5 | this | y-crop4 | 30.00 |" in text


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("real", "random blur, noise"),
        ({"preset": "real", "clean": 0.2}, "random blur, noise"),
        ("web", "sites on the web"),
        ({"preset": "camera", "clean": 0.2}, "a camera's noise"),
        ("none", "antialiased bicubic and otherwise clean"),
    ],
)
def test_limits_follow_the_training_images(tmp_path, kind, words):
    path = tmp_path / "g.safetensors"
    save_generator(create_generator("srgan_tiny"), path, degradation=kind, objective="psnr")
    assert words in srkd.card(str(path)).read_text().partition("## Limits")[2]


def test_a_card_that_fails_leaves_nothing(tmp_path, weights, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(srkd.SrkdError, match="No space left"):
        srkd.card(str(weights), out=str(tmp_path / "c.md"))
    assert not list(tmp_path.iterdir())


def test_cards_of_onnx_files_and_of_gan_training(tmp_path):
    path = save_generator(
        create_generator("srgan_tiny"),
        tmp_path / "g.safetensors",
        stage="finetune",
        steps=1200,
        objective="gan",
        strategy="g2g_al",
        teacher="big@0123",
        seed=3,
        license="Apache-2.0",
        interpolation={"alpha": 0.8, "of": ["soft@01", "sharp@23"]},
    )
    text = srkd.card(str(srkd.export(str(path)))).read_text()
    assert "interpolated: 0.2 soft@01 + 0.8 sharp@23" in text
    assert (tmp_path / "g.md").is_file() and "teacher: big@0123" in text and "finetune, 1,200 steps" in text
    assert "plausible, not true" in text


def test_misuse(fails, tmp_path, weights):
    target = tmp_path / "card.md"
    target.write_text("mine")
    assert "exists" in fails(2, "card", weights, "--out", target)
    assert target.read_text() == "mine" and not (tmp_path / "card.png").exists()
    assert "NAME=FOLDER" in fails(2, "card", weights, "--out", tmp_path / "x.md", "--data", "Set5")
    assert "no folder" in fails(2, "card", weights, "--out", tmp_path / "x.md", "--data", "A=nowhere")
    assert "end in .md" in fails(2, "card", weights, "--out", tmp_path / "x.txt")
    assert "no weights file" in fails(2, "card", "nothing")
    assert [p.name for p in tmp_path.iterdir()] == ["card.md"]


def test_the_picture_is_degraded_as_the_network_was_trained(tmp_path):
    texts, pictures = {}, {}
    for name in ("span_s_psnr", "span_s_real"):
        texts[name] = srkd.card(name, out=tmp_path / f"{name}.md", verbose=False).read_text()
        with Image.open(tmp_path / f"{name}.png") as picture:
            pictures[name] = picture.crop((0, 0, 320, 320)).tobytes()  # bicubic's part
    assert "is MATLAB's bicubic x1/4." in texts["span_s_psnr"]
    assert "degraded as `--degradation web` does it." in texts["span_s_real"]
    assert pictures["span_s_psnr"] != pictures["span_s_real"]
