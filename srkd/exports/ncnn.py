"""ncnn, by pnnx."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch

from srkd.errors import SrkdError
from srkd.exports.request import EXAMPLE, Request


def write_file(request: Request, path: Path) -> None:
    """Writes a `.param` file and the `.bin` beside it, from a traced network. The format has no place for
    facts; they go into a `.json` beside it."""
    import pnnx

    with tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / "model.pt"
        module: Any = torch.jit.trace(request.fused, torch.zeros(1, 3, *EXAMPLE))
        module.save(str(traced))
        made = Path(folder) / "model.ncnn.param"
        command = [pnnx.EXEC_PATH, str(traced), "inputshape=[1,3,24,32]", "inputshape2=[1,3,38,20]"]
        command.append(f"fp16={int(request.precision == 'fp16')}")
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace")
        if done.returncode or not made.is_file():
            reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise SrkdError(f"pnnx could not convert the network: {reason}; nothing was written")
        lines = made.read_text(encoding="ascii").splitlines()
        binary = made.with_suffix(".bin").read_bytes()
    # Where ncnn has no layer, pnnx leaves torch's name or its own.
    kinds = {line.split()[0] for line in lines[2:]}
    foreign = sorted(kind for kind in kinds if "." in kind or "::" in kind)
    if foreign:
        raise SrkdError(f"ncnn has no layer for {', '.join(foreign)}; nothing was written")
    # pnnx's own names, which no other blob has.
    source, result = request.shape.names
    names: dict[str, str] = {"in0": source, "out0": result}
    renamed = [" ".join(names.get(word, word) for word in line.split()) for line in lines]
    path.write_text("\n".join(renamed) + "\n", encoding="ascii")
    path.with_suffix(".bin").write_bytes(binary)
    path.with_suffix(".json").write_text(request.describe() + "\n", encoding="utf-8")
