"""The folder that `srkd export --format web` writes, and where ONNX Runtime Web comes from."""

import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest

import srkd
from srkd import SrkdError, UsageError
from srkd.exports import web
from srkd.exports.web import PACKAGE, VERSION, choose_tile

FILES = {"app.js", "index.html", "models", "models.json", "network.js", "ort", "picture.js", "png.js"}
FILES |= {"style.css", "tiles.js", "worker.js"}


@pytest.fixture
def package(tmp_path) -> Path:
    """An unpacked package with files of the right names, which is enough to write a page."""
    folder = tmp_path / "node_modules" / PACKAGE
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": PACKAGE, "version": VERSION}))
    for name in ("ort.wasm.min.mjs", "ort.webgpu.min.mjs"):
        (folder / "dist" / name).write_text(name)
    for build in ("", ".asyncify"):
        for ending in ("mjs", "wasm"):
            (folder / "dist" / f"ort-wasm-simd-threaded{build}.{ending}").write_text(build)
    return folder


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """A registry that is not there, and an empty cache."""
    monkeypatch.setattr(web, "user_cache_path", lambda name: tmp_path / "cache" / name)
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")


def test_a_page_of_several_networks(tmp_path, package, networks, onnx_file):
    given = [networks["span"], onnx_file, "span_s_psnr"]
    out = srkd.export(given, format="web", runtime=package, out=tmp_path / "a" / "site")
    assert {p.name for p in out.iterdir()} == FILES and not list(out.parent.glob(".*"))
    models = json.loads((out / "models.json").read_text())["models"]
    assert [model["name"] for model in models] == ["span", "tiny", "span_s_psnr"]
    assert {p.name for p in (out / "models").iterdir()} == {model["file"] for model in models}
    assert models[0]["radius"] == srkd.load_generator(networks["span"]).radius and models[0]["scale"] == 4
    assert models[2]["license"] == "Apache-2.0" and all(model["exact"] for model in models)


def test_runs_weights_of_one_name_are_told_by_their_folders(tmp_path, package, onnx_file):
    given = []
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        given.append(shutil.copy(onnx_file, tmp_path / run / "finetune.onnx"))
    out = srkd.export(given, format="web", runtime=package, out=tmp_path / "site")
    models = json.loads((out / "models.json").read_text())["models"]
    assert [model["name"] for model in models] == ["a_finetune", "b_finetune"]
    with pytest.raises(UsageError, match="the same name"):
        srkd.export([given[0], given[0]], format="web", runtime=package, out=tmp_path / "site2")
    assert not (tmp_path / "site2").exists()


def test_nothing_is_half_written(tmp_path, package, onnx_file, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(web.shutil, "copyfile", full)
    with pytest.raises(SrkdError, match="No space left on device; free some space"):
        srkd.export(onnx_file, format="web", runtime=package, out=tmp_path / "site")
    assert not list((tmp_path / "site").iterdir())


def test_misuse(fails, tmp_path, package, onnx_file, networks):
    site, given = tmp_path / "site", ("export", onnx_file, "--format", "web", "--runtime", package)
    assert "name it with --out" in fails(2, *given)
    for option, value in (("precision", "fp16"), ("calibrate", tmp_path), ("branch", 0), ("license", "x")):
        error = fails(2, *given, "--out", site, f"--{option}", value)
        assert f"--{option} does not go with --format web" in error
    assert "does not go with --format onnx" in fails(2, "export", onnx_file, "--runtime", package)
    assert "takes one network" in fails(2, "export", networks["lr"], onnx_file, "--format", "pt2")
    assert "no weights file" in fails(2, "export", "none", *given[2:], "--out", site)
    assert not site.exists()
    assert "not an empty folder" in fails(2, *given, "--out", tmp_path)
    assert "not an empty folder" in fails(2, *given, "--out", onnx_file)


def test_a_network_of_unknown_reach_is_refused(fails, tmp_path, package, onnx_file):
    import onnx

    proto = onnx.load(onnx_file)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "foreign.onnx")
    given = ("export", tmp_path / "foreign.onnx", "--format", "web", "--runtime", package)
    assert "was not exported by srkd" in fails(2, *given, "--out", tmp_path / "site")
    assert not list((tmp_path / "site").iterdir())


def test_another_runtime_than_the_pinned_is_refused(fails, tmp_path, package, onnx_file):
    given = ("export", onnx_file, "--format", "web", "--out", tmp_path / "site", "--runtime")
    assert "there is no such file" in fails(2, *given, tmp_path / "none.tgz")
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as archive:
        archive.add(package / "dist", "package/dist")
    error = fails(2, *given, tmp_path / "x.tgz")
    assert "SHA-512" in error and f"npm pack {PACKAGE}@{VERSION}" in error
    (package / "dist" / "ort.wasm.min.mjs").unlink()
    assert "is not an unpacked" in fails(2, *given, package)
    (package / "package.json").write_text(json.dumps({"name": PACKAGE, "version": "1.0.0"}))
    assert f"1.0.0, not {PACKAGE} {VERSION}" in fails(2, *given, package)
    (package / "package.json").write_text("[]")
    assert "is not an unpacked" in fails(2, *given, package)


def test_without_a_network_one_line_says_what_to_get(fails, tmp_path, no_network, onnx_file):
    error = fails(1, "export", onnx_file, "--format", "web", "--out", tmp_path / "site", "--quiet")
    assert f"npm pack {PACKAGE}@{VERSION}" in error and "--runtime" in error
    assert not (tmp_path / "site").exists()


def test_what_a_registry_gives_is_checked(fails, tmp_path, no_network, onnx_file, monkeypatch):
    asked = []

    def give(url, timeout):
        asked.append(url)
        return io.BytesIO(b"something else")

    monkeypatch.setattr(web.urllib.request, "urlopen", give)
    error = fails(1, "export", onnx_file, "--format", "web", "--out", tmp_path / "site", "--quiet")
    assert "has another SHA-512" in error and not list((tmp_path).glob("cache/**/*.tgz"))
    assert asked == [f"http://127.0.0.1:9/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"]


def test_a_damaged_cache_is_not_used(fails, tmp_path, no_network, onnx_file):
    cached = tmp_path / "cache" / "srkd" / "npm" / f"{PACKAGE}-{VERSION}.tgz"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"cut off")
    error = fails(1, "export", onnx_file, "--format", "web", "--out", tmp_path / "site", "--quiet")
    assert "cannot download" in error


@pytest.mark.parametrize(("radius", "memory"), [(10, 588), (21, 1676), (100, 1e5), (2, 1e6)])
def test_tiles_are_larger_than_their_overlap(radius, memory):
    tile = choose_tile(radius, memory)
    assert 4 * radius <= tile and 64 <= tile <= max(256, 4 * radius)


def test_the_page_names_no_other_place():
    """What the page loads, it loads from its own folder."""
    for path in Path(web.__file__).with_suffix("").iterdir():
        assert not re.search(r"(https?:)?//[a-z]", path.read_text(encoding="utf-8").replace("// ", "")), path
