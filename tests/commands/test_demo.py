"""`srkd demo`: a server for this machine alone."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from urllib.error import HTTPError

import pytest

from srkd import SrkdError
from srkd.commands.demo import HOST
from srkd.exports.web import find_runtime


@contextmanager
def serving(onnx_file):
    """A demo in a process of its own: its address, and the process."""
    try:
        find_runtime()
    except SrkdError as error:
        pytest.skip(str(error))
    command = [sys.executable, "-m", "srkd", "demo", str(onnx_file), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        try:
            yield re.search(r"http://\S+/", line)[0], process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def served(onnx_file):
    with serving(onnx_file) as found:
        yield found


def get(url: str):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read(), answer.headers


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("", "text/html"),
        ("worker.js", "text/javascript"),
        ("ort/ort.wasm.min.mjs", "text/javascript"),
        ("ort/ort-wasm-simd-threaded.wasm", "application/wasm"),
        ("models.json", "application/json"),
    ],
)
def test_types_and_headers(served, name, kind):
    content, headers = get(served[0] + name)
    assert content and headers["Content-Type"].partition(";")[0] == kind
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy


@pytest.mark.parametrize("name", ["models/", "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "none.js"])
def test_nothing_else_is_served(served, name):
    with pytest.raises(HTTPError) as caught:
        get(served[0] + name)
    assert caught.value.code == 404


def test_only_this_machine_is_served(served):
    assert served[0].startswith("http://127.0.0.1:")
    port = int(served[0].rstrip("/").rpartition(":")[2])
    # Another address of the loopback network, where it has more than one.
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(5)
        other.connect(("127.0.0.2", port))


def test_a_port_that_is_taken(fails, served, onnx_file):
    port = served[0].rstrip("/").rpartition(":")[2]
    error = fails(2, "demo", onnx_file, "--port", port)
    assert f"port {port} is taken; give another --port" in error


def test_the_next_port_is_taken_where_none_is_asked_for(served, onnx_file, monkeypatch):
    from srkd.commands import demo

    started = []
    port = int(served[0].rstrip("/").rpartition(":")[2])
    monkeypatch.setattr(demo, "PORT", port)
    monkeypatch.setattr(demo.ThreadingHTTPServer, "serve_forever", lambda self: started.append(self))
    demo.demo(onnx_file, verbose=False)
    assert started[0].server_port > port
    assert started[0].server_address[0] == HOST


@pytest.mark.parametrize("port", [-1, 65536, 1.5, True, "x"])
def test_wrong_ports(port):
    import srkd

    with pytest.raises(SrkdError, match="port must be a whole number from 0 to 65535"):
        srkd.demo(port=port)


def test_wrong_weights(fails):
    assert "no weights file" in fails(2, "demo", "none.onnx", "--port", 0)


def test_ctrl_c_ends_it_cleanly(onnx_file):
    with serving(onnx_file) as (_, process):
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
        # The address comes twice where the signal arrives while it is printed.
        assert (process.returncode, out.split()[-1], error) == (0, "ended", "")
