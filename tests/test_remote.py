"""Places that are not local: fsspec's memory, a web server on this machine, stores with credentials."""

import functools
import http.server
import json
import shutil
import tarfile
import threading

import pytest
from conftest import same

import srkd
from srkd import SrkdError, UsageError
from srkd.cli import main
from srkd.images.writing import write_image
from srkd.remote import localised
from srkd.stores import clean, send
from srkd.training.logs import LOCK
from srkd.upscaling import tasks

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def store():
    """An empty fsspec memory file system."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()


@pytest.fixture
def server(photos, tmp_path):
    """A web server of a folder with the photographs, one of whose names has a blank."""
    folder = shutil.copytree(photos, tmp_path / "web" / "photos")
    (folder / "coffee_0.png").rename(folder / "a coffee.png")
    (folder / "text.txt").write_text("no image")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{one.server_port}", folder
        one.shutdown()


def upload(fs, folder, root):
    for path in folder.rglob("*"):
        if path.is_file():
            fs.pipe_file(f"{root}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def stored(fs, root):
    names = [name for name in fs.find(root) if "/." not in name]
    return {name.removeprefix(f"{root}/"): fs.cat_file(name) for name in names}


def test_a_folder_of_a_store_is_upscaled_into_another_and_resumes(
    photos, tmp_path, store, monkeypatch, capsys
):
    upload(store, photos, "/in/deep")
    srkd.upscale(str(photos), str(tmp_path / "plain"), weights="bicubic")
    plain = {
        f"deep/{name}": data for name, data in contents(tmp_path / "plain").items() if "srkd" not in name
    }
    real, calls = tasks.enlarge_file, []

    def fail_once(model, source, target, *args, **options):
        calls.append(source.name)
        if len(calls) == 4:
            raise KeyboardInterrupt  # between two images: nothing else of it is told
        return real(model, source, target, *args, **options)

    monkeypatch.setattr(tasks, "enlarge_file", fail_once)
    with pytest.raises(KeyboardInterrupt):
        srkd.upscale("memory://in/", "memory://out/", weights="bicubic")
    capsys.readouterr()
    srkd.upscale("memory://in/", "memory://out/", weights="bicubic")
    shown = capsys.readouterr().out
    assert stored(store, "/out") == plain
    assert "-> memory://out" in shown and "/tmp" not in shown
    srkd.upscale("memory://in/", "memory://out/", weights="bicubic")
    assert "all 6 images were upscaled before" in capsys.readouterr().out
    # What it did not make it does not replace.
    store.pipe_file("/other/deep/rocket_0.png", b"mine")
    with pytest.raises(UsageError, match=r"memory://other/deep/rocket_0.png exists"):
        srkd.upscale("memory://in/", "memory://other", weights="bicubic")
    assert store.cat_file("/other/deep/rocket_0.png") == b"mine"


def test_refusals_name_urls(photos, tmp_path, store, capsys):
    upload(store, photos, "/in")
    store.pipe_file("/in/bad.png", b"no image")
    assert main(["upscale", "memory://in", "-o", "memory://in/out", "-w", "bicubic"]) == 1
    error = capsys.readouterr().err
    assert "memory://in/bad.png is not an image" in error and "1 of 7 images failed" in error
    assert len(stored(store, "/in/out")) == 6
    # Results inside the input are no input.
    assert main(["upscale", "memory://in", "-o", "memory://in/out", "-w", "bicubic"]) == 1
    assert len(stored(store, "/in/out")) == 6
    for words, text in (
        (["memory://none", "-o", "memory://out"], "there is nothing at memory://none"),
        (["memory://in", "-o", "memory://in"], "is where the images are"),
        (["memory://in/*.tif", "-o", "memory://out"], "nothing matches memory://in/*.tif"),
        (["nosuch://in", "-o", "memory://out"], "nosuch://in cannot be opened"),
        (["memory://in", "-o", "https://host/out"], "can be read, not written"),
    ):
        assert main(["upscale", *words, "-w", "bicubic"]) == 2
        assert text in capsys.readouterr().err


def test_one_file_and_a_glob(photos, tmp_path, store):
    upload(store, photos, "/in")
    srkd.upscale("memory://in/rocket_0.png", str(tmp_path / "a.png"), weights="bicubic")
    srkd.upscale(str(photos / "rocket_0.png"), "memory://out/b.png", weights="bicubic")
    assert (tmp_path / "a.png").read_bytes() == store.cat_file("/out/b.png")
    srkd.upscale("memory://in/rocket_*.png", str(tmp_path / "some"), weights="bicubic")
    assert sorted(p.name for p in (tmp_path / "some").glob("*.png")) == ["rocket_0.png", "rocket_1.png"]


def test_a_web_server_is_read(server, photos, tmp_path, capsys):
    address, folder = server
    srkd.upscale(f"http://{address}/photos/", str(tmp_path / "out"), weights="bicubic")
    srkd.upscale(str(folder), str(tmp_path / "plain"), weights="bicubic")
    ours, plain = contents(tmp_path / "out"), contents(tmp_path / "plain")
    assert {k: v for k, v in ours.items() if k[0] != "."} == {k: v for k, v in plain.items() if k[0] != "."}
    assert main(["upscale", f"http://{address}/none.png", "-o", str(tmp_path / "x.png")]) == 2
    assert "there is nothing at" in capsys.readouterr().err


def test_credentials_are_not_printed_or_kept(server, tmp_path, capsys):
    address, _ = server
    secret = f"http://user:hunter2@{address}/photos/rocket_0.png?X-Amz-Signature=hunter2"
    assert main(["upscale", secret, "-o", str(tmp_path / "out"), "-w", "bicubic"]) == 0
    missing = secret.replace("rocket", "none")
    assert main(["upscale", missing, "-o", str(tmp_path / "out"), "-w", "bicubic"]) == 2
    assert main(["upscale", "http://user:hunter2@127.0.0.1:1/a.png?sig=hunter2", "-o", "x.png"]) == 1
    out, err = capsys.readouterr()
    assert "hunter2" not in out + err and f"{address}/photos/none_0.png" in err
    assert not any(b"hunter2" in data for data in contents(tmp_path / "out").values())
    assert clean("see s3://key:word@bucket/a?token=1, then b") == "see s3://bucket/a then b"


def test_a_set_is_packed_from_and_into_a_store(photos, teacher, tmp_path, store, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    upload(store, photos, "/in")
    weights = str(teacher / "pretrain.safetensors")
    local = srkd.prepare(str(photos), str(tmp_path / "plain"))
    assert srkd.prepare("memory://in", "memory://packed") == local
    srkd.prepare(str(photos), str(tmp_path / "plain"), teacher=weights)
    srkd.prepare("memory://in", "memory://packed", teacher=weights)
    plain = {name: data for name, data in contents(tmp_path / "plain").items() if name != LOCK}
    assert stored(store, "/packed") == plain
    assert not list((tmp_path / "cache" / "srkd" / "remote").iterdir())


@pytest.fixture
def shards(photos, tmp_path):
    """A folder with the photographs in two tar archives, and one with the same in folders."""
    plain, packed = tmp_path / "plain", tmp_path / "shards"
    packed.mkdir()
    for number, path in enumerate(sorted(photos.iterdir())):
        folder = plain / f"{number % 2:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
        with tarfile.open(packed / f"{folder.name}.tar", "a") as archive:
            archive.add(path, f"./{path.name}")
            archive.addfile(tarfile.TarInfo(f"../{path.name}"))
    return packed, plain


@pytest.mark.parametrize("options", [{}, {"degradation": "web", "jobs": 2, "draws": 2}])
def test_shards_are_packed_as_their_images_in_folders_are(shards, tmp_path, store, options):
    packed, plain = shards
    upload(store, packed, "/in")
    srkd.prepare(plain, tmp_path / "a", **options)
    srkd.prepare(str(packed / "*.tar"), tmp_path / "b", **options)
    srkd.prepare("memory://in/*.tar", tmp_path / "c", **options)
    expected = contents(tmp_path / "a")
    assert contents(tmp_path / "b") == expected and contents(tmp_path / "c") == expected
    assert len(srkd.prepare(packed / "0000.tar", tmp_path / "d")["images"]) == 3
    # Replaced by another of its name.
    shutil.copy(packed / "0001.tar", packed / "0000.tar")
    srkd.prepare(packed / "0000.tar", tmp_path / "e")
    srkd.prepare(packed / "0001.tar", tmp_path / "f")
    assert contents(tmp_path / "e") == contents(tmp_path / "f")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0000.tar", r"0000\.tar is no tar archive, or is damaged: unexpected end of data"),
        ("text.tar", r"text\.tar is no tar archive, or is damaged"),
        ("none.tar", r"there is no .*none\.tar$"),
        ("none*.tar", r"nothing matches .*none\*\.tar$"),
        ("empty*.tar", r"empty\*\.tar holds no images"),
    ],
)
def test_shards_that_are_none_are_one_line(shards, tmp_path, name, message):
    folder, _ = shards
    (folder / "0000.tar").write_bytes((folder / "0000.tar").read_bytes()[:2000])
    (folder / "text.tar").write_text("text")
    tarfile.open(folder / "empty.tar", "w").close()
    with pytest.raises(SrkdError, match=message) as caught:
        srkd.prepare(str(folder / name), tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1 and not (tmp_path / "out").exists()


def test_a_benchmark_in_a_store_is_scored_as_on_disk(photos, tmp_path, store):
    upload(store, photos, "/Set6")
    options = {"lpips": "none", "json": str(tmp_path / "scores.json")}
    assert srkd.evaluate("bicubic", "memory://Set6", **options) == srkd.evaluate(
        "bicubic", str(photos), **options
    )
    shutil.copytree(photos, tmp_path / "sr")
    upload(store, tmp_path / "sr", "/sr")
    found = srkd.evaluate(sr="memory://sr", data="memory://Set6", **options)
    assert found["model"] == "sr" and json.loads((tmp_path / "scores.json").read_text())["model"] == "sr"


def test_names_that_lead_out_of_the_folder_are_not_followed(photo, tmp_path, store):
    write_image(tmp_path / "a.png", photo)
    store.store["/in/../../evil.png"] = store.open("/in/a.png", "wb")
    store.pipe_file("/in/a.png", (tmp_path / "a.png").read_bytes())
    with localised(["memory://in"]) as ((folder,), _):
        assert [path.name for path in folder.rglob("*.png")] == ["a.png"]


def test_stores_without_whole_writes_are_written_beside_and_renamed(tmp_path, monkeypatch):
    """A disk through fsspec: what fails on its way leaves nothing."""
    (tmp_path / "a").write_text("content")
    send(tmp_path / "a", f"file://{tmp_path}/deep/b")
    assert (tmp_path / "deep" / "b").read_text() == "content"
    fs = type(fsspec.filesystem("file"))
    monkeypatch.setattr(fs, "mv", lambda *_args, **_options: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(SrkdError, match=r"cannot write file://.*full"):
        send(tmp_path / "a", f"file://{tmp_path}/deep/c")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["b"]


def test_training_weights_are_the_same_from_a_set_that_was_in_a_store(photos, tmp_path, store, monkeypatch):
    from conftest import pretrain

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    srkd.prepare(str(photos), "memory://packed")
    fsspec.filesystem("memory").get("/packed", str(tmp_path / "fetched"), recursive=True)
    srkd.prepare(str(photos), str(tmp_path / "plain"))
    one, other = (pretrain(tmp_path / name, tmp_path / f"run-{name}") for name in ("fetched", "plain"))
    assert same(one.weights["pretrain"], other.weights["pretrain"])
