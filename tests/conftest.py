"""What test files share: small photographs, small networks, short runs, and commands that must fail."""

import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes with several threads each would stand in one another's way.
    os.environ["OMP_NUM_THREADS"] = "1"

import imagecodecs
import numpy as np
import onnxruntime
import pytest
import tifffile
import torch
import yaml
from lightning_fabric import Fabric
from PIL import ImageCms
from safetensors.torch import load_file

import srkd
from srkd import create_discriminator, create_generator, save_generator
from srkd.cli import main
from srkd.commands.comparing import checks
from srkd.commands.compressing import photographs, recipes, training
from srkd.commands.compressing import teacher as teacher_module
from srkd.config import Critic
from srkd.data import embedded_photos
from srkd.images.reading import read_image
from srkd.images.writing import write_image
from srkd.models import GENERATORS
from srkd.recipe import Recipe
from srkd.search import measuring, timing
from srkd.strategies import STRATEGIES
from srkd.training import loop
from srkd.training.logs import LOG
from srkd.training.state import build_state
from srkd.training.step import train_step
from srkd.training.teachers import Teacher
from srkd.training.terms import Term

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("SRKD_DATA", ROOT.parent / "shared" / "data"))

THREADS = torch.get_num_threads()

# Arguments that make any run short, and the critics of any run small.
SHORT = {"steps": 6, "crop": 32, "batch": 2, "validate_every": 20}
TINY = {"model": "srgan_tiny", "crop": 32, "batch": 2}
CRITIC = {"options": {"channels": 4}}
GAN = {"gan": {"critics": {"hr": CRITIC}}}

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

# Small forms of every architecture and option; the named sizes differ from them in numbers only.
ARCHITECTURES = [
    *(
        ("srgan", {"channels": 8, "blocks": 2, "tail": tail, "norm": norm, "skip": skip})
        for tail in ("paper", "lr")
        for norm in ("none", "bn")
        for skip in ("none", "nearest", "bilinear")
    ),
    ("branched", {"channels": 8, "blocks": 1, "branches": 2, "branch_blocks": 1}),
    ("span", {"channels": 8}),
    ("compact", {"channels": 8, "convs": 3}),
]

# Of those, one for each way in which an export may go wrong.
NETWORKS = {
    "paper": ("srgan", {"channels": 8, "blocks": 1, "norm": "bn"}),
    "lr": ("srgan", {"channels": 8, "blocks": 1, "tail": "lr", "skip": "bilinear"}),
    "nearest": ("srgan", {"channels": 8, "blocks": 1, "tail": "lr", "skip": "nearest"}),
    "compact": ("compact", {"channels": 8, "convs": 2}),
    "span": ("span", {"channels": 8}),
    "branched": ("branched", {"channels": 8, "blocks": 1, "branches": 2, "branch_blocks": 1}),
}


@pytest.fixture(autouse=True)
def _afresh():
    """Each test begins with the same seed and threads, whatever was run before it."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c():
    """Tests that a shell starts in the background inherit that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Images.


@pytest.fixture(scope="session")
def benchmark() -> Path:
    """The folder of Set5, Set14 and BSD100, each with HR and MATLAB's LR."""
    if not (DATA / "benchmark").is_dir():
        pytest.skip("no benchmark data; set SRKD_DATA to the folder that holds benchmark/Set5 ...")
    return DATA / "benchmark"


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """A folder of six small photographs of different, partly odd sizes."""
    folder = tmp_path_factory.mktemp("photos")
    sources = embedded_photos(["astronaut.png", "coffee.png", "rocket.jpg"])
    boxes = [(0, 0, 96, 96), (120, 200, 97, 110)]
    for source in sources:
        image = read_image(source)
        for number, (top, left, height, width) in enumerate(boxes):
            crop = image[top : top + height, left : left + width]
            write_image(folder / f"{source.stem}_{number}.png", np.ascontiguousarray(crop))
    return folder


@pytest.fixture
def packed(photos, tmp_path) -> Path:
    """The photographs as a packed set."""
    srkd.prepare(str(photos), str(tmp_path / "packed"))
    return tmp_path / "packed"


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph, 60 x 80."""
    return read_image(embedded_photos(["astronaut.png"])[0])[:60, 150:230].copy()


def bicubic(source, target, **options) -> Path:
    return srkd.upscale(str(source), str(target), weights="bicubic", **options)[0]


def deep_png(path: Path, values: np.ndarray) -> Path:
    """Writes a PNG of as many bits as the values have."""
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(values)))
    return path


def deep_values(path: Path) -> np.ndarray:
    return imagecodecs.png_decode(path.read_bytes()) if path.suffix == ".png" else tifffile.imread(path)


# Networks.


def build_network(name: str, options: dict[str, Any], scale: int = 4) -> torch.nn.Module:
    """A network for inference whose batch norms have statistics."""
    torch.manual_seed(0)
    model = create_generator(name, scale, **options)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.fixture(scope="session")
def networks(tmp_path_factory) -> dict[str, Path]:
    """Weights of every architecture, by its name in `NETWORKS`."""
    folder = tmp_path_factory.mktemp("networks")
    return {
        name: save_generator(build_network(*form), folder / f"{name}.safetensors", stage="test")
        for name, form in NETWORKS.items()
    }


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """Random weights of the smallest generator."""
    torch.manual_seed(0)
    return save_generator(
        create_generator("srgan_tiny"), tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    )


@pytest.fixture(scope="session")
def onnx_file(weights) -> Path:
    """The same as an ONNX file."""
    return srkd.export(str(weights), out=str(weights.with_suffix(".onnx")))


def in_onnxruntime(path: Path, batch: np.ndarray) -> tuple[np.ndarray, str]:
    """What an ONNX file gives by itself, and what it says of itself."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["sr"], {"lr": batch})[0], session.get_modelmeta().custom_metadata_map["srkd"]


def write_compact(folder: Path) -> Path:
    """A Compact file as other programs write it."""
    torch.manual_seed(0)
    model = create_generator("compact", channels=8, convs=2)
    torch.save({"params": model.state_dict()}, folder / "compact.pth")
    return folder / "compact.pth"


def same(a: Path, b: Path) -> bool:
    """Whether two weights files hold the same."""
    x, y = load_file(a), load_file(b)
    return x.keys() == y.keys() and all(torch.equal(x[key], y[key]) for key in x)


# Runs.


@pytest.fixture(scope="session")
def teacher(tmp_path_factory, photos) -> Path:
    """A run folder with `pretrain.safetensors`, `gan.safetensors` and its discriminator."""
    out = tmp_path_factory.mktemp("teacher") / "run"
    srkd.train(
        str(photos),
        model="srgan_tiny",
        out=str(out),
        stages={"gan": {"critics": {"hr": {"options": {"channels": 8}}}}},
        **{**SHORT, "steps": 20},
    )
    return out


def pretrain(photos: Path, out: Path, **options) -> Any:
    """Twelve steps, validated after every fourth, saved after every third."""
    options = {**TINY, "strategy": "pretrain", "steps": 12, "validate_every": 4, "save_every": 3, **options}
    return srkd.train(str(photos), out=str(out), **options)


def small_critics(strategy: str) -> dict[str, Any]:
    """Overrides that make every critic of a strategy small."""
    stages = STRATEGIES[strategy].stages
    return {
        k: {"critics": dict.fromkeys(stage.critics, CRITIC)} for k, stage in stages.items() if stage.critics
    }


def run_strategy(photos: Path, teachers: Path, out: Path, strategy: str, **options) -> Any:
    """A short run from the pretrained weights, with the teacher that the strategy asks for."""
    arguments = {
        "model": "srgan_tiny",
        "start": str(teachers / "pretrain.safetensors"),
        "stages": small_critics(strategy),
    }
    kind = STRATEGIES[strategy].teacher
    if kind:
        arguments["teacher"] = str(
            teachers / ("gan.safetensors" if kind == "gan" else "pretrain.safetensors")
        )
    arguments |= {**SHORT, **options}
    if strategy == "mutual":
        return srkd.mutual(str(photos), out=str(out), **arguments)
    return srkd.distill(str(photos), strategy=strategy, out=str(out), **arguments)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """A run's log, without what differs from run to run."""
    entries = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{k: v for k, v in entry.items() if k != "steps_per_second"} for entry in entries]


def stop_at(monkeypatch, step: int, action: Callable[[], Any]) -> None:
    """Does something in place of the step of that number, once."""
    calls = iter(range(10_000))

    def step_or_act(*args):
        if next(calls) == step:
            action()
        return train_step(*args)

    monkeypatch.setattr(loop, "train_step", step_or_act)


def kill() -> None:
    raise MemoryError("as if killed")


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


# Single steps.


def critic(**options) -> Critic:
    return Critic(**{**CRITIC, **options})


def plain_critics(stage):
    """Critics without batch statistics, which parts of a batch do not share."""
    critics = {k: replace(c, options={"channels": 4, "norm": "none"}) for k, c in stage.critics.items()}
    return replace(stage, critics=critics)


def make_state(stage, networks=1, teacher=None, fabric=None, **options):
    """What a stage is trained with, of small generators."""
    generators = []
    for index in range(networks):
        torch.manual_seed(index)
        if "ensemble" in stage.losses:
            generators.append(create_generator("branched", channels=6, blocks=2, branches=2, branch_blocks=1))
        else:
            generators.append(create_generator("srgan", channels=6, blocks=2, tail="lr"))
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    return build_state(fabric, stage, generators, {}, [teacher] if teacher else [], 0, **options)


def make_teacher(width: int = 4) -> Teacher:
    torch.manual_seed(99)
    generator = create_generator("srgan", channels=8, blocks=2, tail="lr")
    return Teacher(generator, create_discriminator("vgg", channels=width))


def values(terms: list[Term]) -> dict[str, torch.Tensor]:
    """What terms come to, by their names."""
    return {term.name: term.value for term in terms}


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(7)
    return torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32)


# Commands and processes.


@pytest.fixture
def fails(capsys):
    """Runs a command that must fail with this code; gives its single line of complaint."""

    def run(code: int, *words) -> str:
        assert main([str(word) for word in words]) == code
        error = capsys.readouterr().err.strip()
        assert len(error.splitlines()) == 1 and "Traceback" not in error, error
        return error

    return run


@pytest.fixture
def on_full_disk(capsys, monkeypatch):
    """Runs a command that must fail where files cannot grow beyond a limit; gives what it complains of."""

    resource = pytest.importorskip("resource")
    # Compiled modules would be cut by the limit.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(limit: int, *words) -> str:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            code = main([str(word) for word in words])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        error = capsys.readouterr().err
        assert code == 1 and error.count("\n") == 1, error
        return error

    return run


def run_python(text: str, *words: str) -> str:
    """What a program prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", text, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def train_command(data: Path, out: Path, *words) -> list[str]:
    """A command that trains the smallest generator in a process of its own."""
    start = [sys.executable, "-m", "srkd", "train", str(data), "--out", str(out), "--model", "srgan_tiny"]
    return [*start, "--crop", "32", "--batch", "2", "--threads", "1", *map(str, words)]


@pytest.fixture
def compare_untrained(tmp_path, monkeypatch, photos, weights, networks):
    """`srkd.compare` on the photographs whose runs, in place of training, are given random weights: controls
    some, methods others. Nothing is rehearsed: the teachers, `t`, are not there.

    Gives the control of every method by its label, and the recipes that would have been trained.
    """
    script = tmp_path / "python"
    script.write_text(f"""#!{sys.executable}
import json, pathlib, shutil, sys, yaml
file = pathlib.Path(sys.argv[sys.argv.index("srkd.training") + 1])
out = pathlib.Path(yaml.safe_load(file.read_text())["out"])
out.mkdir(parents=True)
shutil.copy(file, out / "given.yaml")
weights = {str(weights)!r} if out.name.startswith("control") else {str(networks["lr"])!r}
for stage in ("pretrain", "transfer", "finetune", "finetune_0"):
    shutil.copy(weights, out / f"{{stage}}.safetensors")
(out / "run.json").write_text(json.dumps({{"state": "finished", "seconds": 60, "memory": 2**30}}))
""")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(checks, "rehearse", lambda *_: {})
    counter = itertools.count()

    def run(recipe: Path | str, *methods: str, **options) -> tuple[dict[str, str | None], dict[str, Recipe]]:
        options = {
            "data": str(photos),
            "seeds": 1,
            "out": str(tmp_path / f"compare{next(counter)}"),
            **options,
        }
        found = srkd.compare(str(recipe), methods=",".join(methods) or None, **options)
        controls = {row["method"]: row["control"] for row in found["rows"]}
        recipes = {}
        for label in controls:
            for folder in Path(options["out"]).glob(f"{label}-[0-9]"):
                recipes[label] = Recipe(**yaml.safe_load((folder / "given.yaml").read_text()))
                (folder / "recipe.yaml").write_text(recipes[label].to_yaml())
        return controls, recipes

    return run


def load_script(path: str) -> Any:
    """A script of the project as a module, by its path from the top, such as `benchmarks/ship.py`."""
    file = ROOT / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def quick(monkeypatch):
    """A `srkd compress` of seconds: few and small candidates, windows and steps."""
    monkeypatch.setattr(GENERATORS["span"][0], "variants", {})
    monkeypatch.setattr(GENERATORS["srgan"][0], "variants", {})
    monkeypatch.setattr(GENERATORS["compact"][0], "variants", {"channels": (8, 12), "convs": (2, 3)})
    monkeypatch.setattr(teacher_module, "WINDOWS", 1)
    monkeypatch.setattr(photographs, "FEWEST", 8)
    monkeypatch.setattr(photographs, "MOST", 8)
    monkeypatch.setattr(photographs, "HELD", 2)
    monkeypatch.setattr(measuring, "SUSTAINED", 0.0)
    monkeypatch.setattr(timing, "TURNS", 2)

    def plan(_settings, phases, *_args):
        return [
            {
                "phase": p.name,
                "steps": {n: 3 for n, s in p.stages.items() if s is not None},
                "seconds_per_step": {},
            }
            | {"save_every": 2}
            for p in phases
        ]

    monkeypatch.setattr(training, "plan_steps", plan)
    for name, phases in recipes.RECIPES.items():
        monkeypatch.setitem(recipes.RECIPES, name, tuple(shrink_phase(phase) for phase in phases))


def shrink_phase(phase):
    """The phase with small crops, batches and critics."""
    stages = {}
    for name, changes in phase.stages.items():
        stages[name] = changes and {**changes, "batch": 2, "crop": 64}
        for critic in (changes or {}).get("critics", {}):
            own = {**changes["critics"][critic]}
            own["options"] = {**own.get("options", {}), "channels": 4}
            stages[name]["critics"] = {**stages[name]["critics"], critic: own}
    return replace(phase, stages=stages)


# Clips.


def views(photo: np.ndarray, count: int, size: tuple[int, int] = (32, 24)) -> list[np.ndarray]:
    """Frames of a view that moves over a photograph."""
    width, height = size
    return [photo[k % 16 : k % 16 + height, k % 24 : k % 24 + width].copy() for k in range(count)]


def write_clip(path: Path, frames, codec: str = "ffv1", **options) -> Path:
    """Writes RGB frames as a clip.

    Args:
        path: the file.
        frames: arrays `(H, W, 3)`, uint8 or uint16.
        codec: FFmpeg's name of the encoder.
        options: `pixels`, `times` and `unit` (as a fraction) of frames, `sound` in seconds, options of the
            `encoder`, and what its context is given.
    """
    import av

    given = {"pixels": "bgr0", "unit": Fraction(1, 25), "sound": 0, "encoder": {}, "times": None, **options}
    pixels, unit, sound, encoder, times = (
        given.pop(key) for key in ("pixels", "unit", "sound", "encoder", "times")
    )
    with av.open(str(path), "w") as file:
        video = file.add_stream(codec, 25, encoder, pix_fmt=pixels)
        video.width, video.height = frames[0].shape[1::-1]
        video.codec_context.time_base = video.time_base = unit
        for name, value in given.items():
            setattr(video.codec_context, name, value)
        audio = None
        if sound:
            audio = file.add_stream("aac", 16_000)
            audio.metadata["language"] = "deu"
        for number, values in enumerate(frames):
            kind = "rgb48le" if values.dtype == np.uint16 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), kind)
            frame.color_range = 2
            if not pixels.startswith("bgr"):
                matrix = {2: 5, 6: 5}.get(video.codec_context.colorspace, video.codec_context.colorspace)
                limits = video.codec_context.color_range or 1
                frame = frame.reformat(
                    format=pixels, dst_colorspace=matrix, dst_color_range=limits, interpolation=0x4E004
                )
            frame.pts, frame.time_base = times[number] if times else number, unit
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if audio is not None:
            wave = np.sin(np.arange(int(sound * 16_000)) * 0.2).astype(np.float32)
            for start in range(0, len(wave), 1024):
                block = np.ascontiguousarray(wave[None, start : start + 1024].repeat(2, axis=0))
                tone = av.AudioFrame.from_ndarray(block, "fltp", "stereo")
                tone.sample_rate, tone.pts, tone.time_base = 16_000, start, Fraction(1, 16_000)
                file.mux(audio.encode(tone))
            file.mux(audio.encode(None))
    return path


def read_clip(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """A clip's frames as RGB, by FFmpeg and the clip's own tags, and their times in seconds."""
    import av

    with av.open(str(path)) as file:
        found = [(f.to_ndarray(format="rgb24"), float(f.time)) for f in file.decode(video=0)]
    return [values for values, _ in found], [time for _, time in found]
