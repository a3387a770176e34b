"""The page in a real, headless Chromium: the pixels of `srkd upscale`, and what people do to pages.

Skipped without chromium, chromedriver, selenium, or a network to fetch ONNX Runtime Web from.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import srkd
from srkd import SrkdError
from srkd.data import embedded_photos
from srkd.exports.web import find_runtime

selenium = pytest.importorskip("selenium.webdriver")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with its chromedriver")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
PATIENCE = 120


class Page:
    """The page in a browser of its own."""

    def __init__(self, url: str, folder: Path, flags: list[str]):
        self.url, self.downloads = url, folder / "downloads"
        self.downloads.mkdir()
        options = selenium.ChromeOptions()
        options.binary_location = BROWSER
        for flag in [*FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", "--window-size=1000,900"]:
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"download.default_directory": str(self.downloads)})
        service = selenium.ChromeService(DRIVER)
        self.driver = selenium.Chrome(options=options, service=service)

    def open(self) -> "Page":
        self.driver.get(self.url)
        self.wait(lambda: self["about"].text)
        return self

    def __getitem__(self, name: str) -> Any:
        return self.driver.find_element("id", name)

    def run(self, script: str, *words: Any) -> Any:
        return self.driver.execute_script(script, *words)

    def wait(self, done: Any) -> Any:
        end = time.monotonic() + PATIENCE
        while not (found := done()):
            assert time.monotonic() < end, self["status"].text
            time.sleep(0.05)
        return found

    def give(self, path: Path) -> None:
        self["file"].send_keys(str(path))

    def result(self) -> Path:
        """The file that the page gives, when it is done."""
        self.wait(lambda: self["download"].is_displayed() or self.wrong())
        assert not self.wrong(), self["status"].text
        for old in self.downloads.iterdir():
            old.unlink()
        self["download"].click()
        # The browser makes an empty file first, and renames the whole one over it.
        return self.wait(lambda: next((p for p in self.downloads.glob("*.png") if p.stat().st_size), None))

    def wrong(self) -> str:
        """What the page complains of."""
        return self.run(
            "const s = document.getElementById('status'); return s.matches('.error') && s.textContent"
        )


@pytest.fixture(scope="module")
def site(networks, tmp_path_factory) -> Path:
    """Two quick networks, run in small tiles so that small pictures have many."""
    try:
        find_runtime()
    except SrkdError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("web") / "site"
    srkd.export([networks["lr"], networks["span"]], format="web", out=folder)
    about = json.loads((folder / "models.json").read_text())
    for model in about["models"]:
        model["tile"] = 4 * model["radius"] + 8
    (folder / "models.json").write_text(json.dumps(about))
    return folder


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """A folder's address, behind a plain static server."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        port = process.stdout.readline().split(" port ")[1].split()[0]
        yield f"http://127.0.0.1:{port}/"
        process.kill()


@pytest.fixture(scope="module")
def url(site) -> Iterator[str]:
    with serve(site) as address:
        yield address


@pytest.fixture(scope="module")
def browser(url, tmp_path_factory) -> Iterator[Page]:
    found = Page(url, tmp_path_factory.mktemp("browser"), ["--disable-gpu"])
    yield found
    found.driver.quit()


@pytest.fixture
def page(browser) -> Page:
    return browser.open()


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(embedded_photos(["astronaut.png"])[0]).convert("RGB").resize((150, 117))


def draw_alpha(size: tuple[int, int]) -> Image.Image:
    """Opaque, clear, a slope between, and noise."""
    y, x = np.mgrid[: size[1], : size[0]]
    alpha = np.clip(300 - 5 * np.hypot(x - 60, y - 50), 0, 255).astype(np.uint8)
    alpha[80:100, 90:120] = np.random.default_rng(0).integers(0, 256, (20, 30))
    return Image.fromarray(alpha)


def compare(page: Page, path: Path, weights: Path, tmp_path: Path) -> Image.Image:
    """Asserts that the page's result is that of `srkd upscale`, to one level; gives the page's."""
    page.give(path)
    found = Image.open(page.result())
    expected = Image.open(srkd.upscale(path, tmp_path / "expected.png", weights=weights, verbose=False)[0])
    mode = "RGBA" if "A" in expected.mode else "RGB"
    a, b = (np.asarray(image.convert(mode)).astype(int) for image in (found, expected))
    assert a.shape == b.shape and np.abs(a - b).max() <= 1
    return found


@pytest.mark.parametrize("name", ["lr", "span"])
def test_the_pixels_are_those_of_the_command(page, networks, photo, tmp_path, name):
    page.run("const m = document.getElementById('model'); m.value = arguments[0]", int(name == "span"))
    photo.save(tmp_path / "in.png")
    found = compare(page, tmp_path / "in.png", networks[name], tmp_path)
    assert found.mode == "RGB" and f"150x117 to 600x468 by {name}" in page["status"].text
    assert "WASM, 1 thread." in page["status"].text


@pytest.mark.parametrize("size", [(1, 1), (5, 130), (64, 3)])
def test_narrow_pictures(page, networks, photo, tmp_path, size):
    photo.resize(size).save(tmp_path / "in.png")
    compare(page, tmp_path / "in.png", networks["lr"], tmp_path)


@pytest.mark.parametrize("quality", [60, 95])
def test_jpeg_turned_by_exif(page, networks, photo, tmp_path, quality):
    exif = Image.Exif()
    exif[274] = 6
    photo.save(tmp_path / "in.jpg", quality=quality, exif=exif)
    assert compare(page, tmp_path / "in.jpg", networks["lr"], tmp_path).size == (468, 600)


def test_alpha_is_kept(page, networks, photo, tmp_path):
    image = photo.copy()
    image.putalpha(draw_alpha(photo.size))
    image.save(tmp_path / "in.png")
    found = compare(page, tmp_path / "in.png", networks["lr"], tmp_path)
    assert found.mode == "RGBA" and np.asarray(found)[..., 3].min() == 0


def test_gray_with_alpha_stays_gray(page, networks, photo, tmp_path):
    image = photo.convert("L")
    image.putalpha(draw_alpha(photo.size))
    image.save(tmp_path / "in.png")
    assert compare(page, tmp_path / "in.png", networks["lr"], tmp_path).mode == "LA"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_gray_stays_gray(page, networks, photo, tmp_path, suffix):
    photo.convert("L").convert("RGB").save(tmp_path / f"in{suffix}")
    assert compare(page, tmp_path / f"in{suffix}", networks["lr"], tmp_path).mode == "L"


STARTS = """
const [length, tile, radius, done] = arguments;
import("./tiles.js").then(({ cut, windowSide }) => {
  done(cut(length, windowSide(length, tile, radius), radius).map((span) => span.start));
});
"""


@contextmanager
def replaced(path: Path, old: str, new: str) -> Iterator[None]:
    """A file with other content inside. Its times differ by whole seconds, which servers compare."""
    before, written = path.read_text(), path.stat().st_mtime
    assert old in before
    path.write_text(before.replace(old, new))
    os.utime(path, (written + 10, written + 10))
    yield
    path.write_text(before)
    os.utime(path, (written + 20, written + 20))


def test_a_network_that_looks_beyond_its_tiles_is_blended(page, site, networks, photo, tmp_path):
    """A tile's values reach half of the radius into those before it, which they differ from a little."""
    with replaced(site / "models.json", '"exact": true', '"exact": false'):
        page.open()
    photo.save(tmp_path / "in.png")
    page.give(tmp_path / "in.png")
    found = np.asarray(Image.open(page.result()).convert("RGB")).astype(int)
    made = srkd.upscale(tmp_path / "in.png", tmp_path / "out.png", weights=networks["lr"], verbose=False)
    gap = np.abs(found - np.asarray(Image.open(made[0]).convert("RGB"))).max(2)
    model = json.loads((site / "models.json").read_text())["models"][0]
    blended = np.zeros(gap.shape, bool)
    for axis, length in enumerate(reversed(photo.size)):
        starts = page.driver.execute_async_script(STARTS, length, model["tile"], model["radius"])
        assert len(starts) > 2
        for start in starts[1:]:
            strip = slice((start - model["radius"] // 2) * 4, start * 4)
            blended[(slice(None),) * axis + (strip,)] = True
    assert gap[~blended].max() <= 1 < gap[blended].max() < 64


def test_a_site_that_was_written_anew_is_not_taken_from_the_cache(site, tmp_path):
    """Browsers trust an old file without asking, where the page does not say otherwise."""
    copy = shutil.copytree(site, tmp_path / "site")
    os.utime(copy / "models.json", (1e9, 1e9))
    with serve(copy) as address:
        page = Page(address, tmp_path, ["--disable-gpu"])
        try:
            page.open()
            with replaced(copy / "models.json", '"name": "span"', '"name": "other"'):
                page.open()
            assert "other" in page["model"].text
        finally:
            page.driver.quit()


def test_wrong_files_are_a_line_and_the_next_is_taken(page, networks, photo, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    photo.save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    photo.save(tmp_path / "cut.jpg")
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    frames = [photo.resize((30, 20)), photo.resize((30, 20)).rotate(180)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    for name, reason in {
        "text.png": "is not a picture that this browser can read",
        "empty.jpg": "is not a picture that this browser can read",
        "cut.png": "is not a picture that this browser can read",
        "cut.jpg": "is not a picture that this browser can read",
        "moving.gif": "holds 2 frames",
    }.items():
        page.give(tmp_path / name)
        said = page.wait(page.wrong)
        assert said.startswith(f"{name}: ") and reason in said
        assert not page["work"].is_displayed() and not page["download"].is_displayed()
    photo.save(tmp_path / "in.png")
    compare(page, tmp_path / "in.png", networks["lr"], tmp_path)


def start_long(page: Page, photo: Image.Image, tmp_path: Path) -> None:
    """A picture that takes many tiles; returns when the first are done."""
    photo.resize((900, 900)).save(tmp_path / "long.png")
    page.give(tmp_path / "long.png")
    page.wait(lambda: "left" in page["status"].text)


def test_a_second_picture_takes_the_place_of_one_that_runs(page, networks, photo, tmp_path):
    start_long(page, photo, tmp_path)
    photo.save(tmp_path / "second.png")
    compare(page, tmp_path / "second.png", networks["lr"], tmp_path)
    assert page["status"].text.startswith("second.png: 150x117")


def test_cancel(page, networks, photo, tmp_path):
    start_long(page, photo, tmp_path)
    assert 0 < float(page["progress"].get_attribute("value")) < 1
    page["cancel"].send_keys("\n")
    page.wait(lambda: page["status"].text == "long.png: cancelled")
    assert not page["result"].is_displayed() and not page["work"].is_displayed()
    photo.save(tmp_path / "in.png")
    compare(page, tmp_path / "in.png", networks["lr"], tmp_path)


HAND_OVER = """
const [name, text, kind] = arguments;
const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt());
const data = new DataTransfer();
data.items.add(new File([bytes], name, { type: "image/png" }));
document.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, { clipboardData: data })
  : new DragEvent(kind, { dataTransfer: data, cancelable: true }));
"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_dropped_and_pasted(page, photo, tmp_path, kind):
    import base64

    photo.save(tmp_path / "in.png")
    page.run(HAND_OVER, "in.png", base64.b64encode((tmp_path / "in.png").read_bytes()).decode(), kind)
    assert Image.open(page.result()).size == (600, 468)


def test_another_student_begins_again(page, networks, photo, tmp_path):
    photo.save(tmp_path / "in.png")
    compare(page, tmp_path / "in.png", networks["lr"], tmp_path)
    page["model"].send_keys("span")
    page.wait(lambda: "by span" in page["status"].text)


def test_the_slider_goes_by_keys(page, photo, tmp_path):
    photo.save(tmp_path / "in.png")
    page.give(tmp_path / "in.png")
    page.result()
    places = []
    for _ in range(2):
        page["split"].send_keys("\ue012" * 10)  # arrow left
        places.append(page.run("return document.getElementById('line').getBoundingClientRect().x"))
    assert places[1] < places[0]
    # On narrow screens nothing sticks out.
    page.driver.set_window_size(500, 800)
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    sticking = page.run("return document.documentElement.scrollWidth - innerWidth")
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert sticking <= 0


def test_nothing_is_sent_anywhere(page, url, photo, tmp_path):
    photo.save(tmp_path / "in.png")
    page.give(tmp_path / "in.png")
    page.result()
    names = page.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert names and all(name.startswith((url, "blob:" + url, "data:")) for name in names)
    # The policy, not good will: another port is another place.
    refused = """
const [place, done] = arguments;
document.addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
fetch(place).then(() => done("sent"), () => {});
"""
    assert page.driver.execute_async_script(refused, "http://127.0.0.1:9/") == "connect-src"


def test_threads_where_the_server_allows_them(networks, photo, tmp_path):
    """`srkd demo` sends the headers that a plain server does not."""
    command = [sys.executable, "-m", "srkd", "demo", str(networks["lr"]), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        line = next(line for line in process.stdout if "http://" in line)
        own = Page(line.split()[0], tmp_path, ["--disable-gpu"])
        try:
            assert own.open().run("return crossOriginIsolated")
            photo.save(tmp_path / "in.png")
            compare(own, tmp_path / "in.png", networks["lr"], tmp_path)
            cores = own.run("return navigator.hardwareConcurrency")
            assert f"WASM, {min(cores, 16)} thread" in own["status"].text
        finally:
            own.driver.quit()
            process.kill()


@pytest.mark.slow
def test_webgpu(url, networks, photo, tmp_path):
    """By a GPU in software, which takes its time."""
    own = Page(url, tmp_path, SOFTWARE_GPU)
    try:
        photo.resize((40, 50)).save(tmp_path / "in.png")
        compare(own.open(), tmp_path / "in.png", networks["lr"], tmp_path)
        assert "on WebGPU" in own["status"].text
    finally:
        own.driver.quit()
