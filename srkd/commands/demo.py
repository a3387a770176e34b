"""`srkd demo`: the page that upscales in the browser, on this machine."""

import errno
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from srkd.arguments import check_whole
from srkd.errors import SrkdError, UsageError
from srkd.exports.web import write_site
from srkd.files import StrPath
from srkd.terminal import Progress, answer, reports
from srkd.upscaling.opening import Purpose, default_weights

HOST, PORT, TRIES = "127.0.0.1", 8000, 20
# What the page may do: run its own scripts, and read its own files. The last two allow threads, which share
# memory.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
        "style-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
# Which the system may know otherwise; browsers run scripts and WASM of these types alone.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}


@reports
def demo(
    weights: Sequence[StrPath] | StrPath | None = None,
    *,
    port: int | None = None,
    runtime: StrPath | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
) -> None:
    """Upscale in the browser: serves the page of `srkd export --format web` on this machine.

    The page is on 127.0.0.1, for nobody else, until Ctrl-C. Pictures stay in the browser.

    Args:
        weights: weights files or shipped names; when none are given, those for clean images, for sharper ones
            and for photographs.
        port: of the address; the first that is free from 8000 on when not given.
        runtime: ONNX Runtime Web: its archive (`npm pack onnxruntime-web`), or the folder of the unpacked
            package. Without it, it is downloaded once from npm's registry.
        verbose: print what is done.
        progress: never called; every command takes it.

    Raises:
        UsageError: no such weights, or a port that is taken.
        SrkdError: ONNX Runtime Web cannot be downloaded.
    """
    if port is not None:
        check_whole("port", port, 0, 65535)
    names = [weights] if isinstance(weights, str | Path) else list(weights or ())
    with tempfile.TemporaryDirectory(prefix="srkd-demo-") as folder, bind(port, folder) as server:
        write_site(names or list(map(default_weights, get_args(Purpose))), Path(folder), runtime)
        try:
            answer(f"http://{HOST}:{server.server_port}/ upscales in the browser; end with Ctrl-C")
            server.serve_forever()
        except KeyboardInterrupt:
            answer("ended")


def bind(
    port: int | None, folder: str, headers: Mapping[str, str] = MappingProxyType(HEADERS)
) -> ThreadingHTTPServer:
    """A server of a folder on a port, or on the first that is free."""
    for number in range(PORT, PORT + TRIES) if port is None else (port,):
        try:
            return _Server((HOST, number), partial(_Handler, directory=folder, headers=headers))
        except PermissionError as error:
            raise UsageError(f"port {number} is not for ordinary users; give a --port above 1023") from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SrkdError(f"cannot serve on {HOST}:{number}: {error.strerror}") from error
    taken = f"port {port} is" if port is not None else f"ports {PORT} to {PORT + TRIES - 1} are"
    raise UsageError(f"{taken} taken; give another --port, or 0 for any")


class _Server(ThreadingHTTPServer):
    # Browsers keep connections open, which must not keep the program from ending.
    daemon_threads = True
    # On Windows, it would share a port that is taken.
    allow_reuse_address = os.name != "nt"


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *words: Any, headers: Mapping[str, str], **options: Any):
        # The base class answers the request as it is made.
        self.added = headers
        super().__init__(*words, **options)

    def guess_type(self, path: Any) -> str:
        return TYPES.get(Path(path).suffix) or super().guess_type(path)

    def end_headers(self) -> None:
        for name, value in self.added.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not reported."""
