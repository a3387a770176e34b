"""The package as it is imported, and the help of its commands."""

import re

import pytest
from conftest import run_python

import srkd
from srkd.cli import COMMANDS


def test_neither_the_package_nor_its_help_imports_torch():
    assert run_python("import sys, srkd; print('torch' in sys.modules)") == "False\n"
    helped = run_python(
        "import sys; from srkd.cli import main; main(['--help']); print('torch' in sys.modules)"
    )
    assert helped.endswith("False\n") and all(f"  {name} " in helped for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_without_torch(name):
    text = (
        "import sys; from srkd.cli import main\ntry: main([sys.argv[1], '--help'])\nexcept SystemExit as e:"
    )
    out = run_python(text + " print(e.code, 'torch' in sys.modules)", name)
    assert out.endswith("0 False\n") and f"usage: srkd {name}" in out
    options = " ".join(out.split("options:")[1].split())
    # Between an option and its type in brackets there are words.
    assert not re.findall(r"--\w+ (?:\{[^}]*\}|[A-Z_]+) \(.*?\)", options)


def test_every_public_name_is_there():
    for name in srkd.__all__:
        assert getattr(srkd, name) is not None
    with pytest.raises(AttributeError, match="distil"):
        _ = srkd.distil


def test_verbs_stay_functions_after_use(photos):
    srkd.evaluate("bicubic", str(photos), lpips="none")
    assert all(callable(getattr(srkd, name)) for name in COMMANDS if name not in ("models", "runs", "config"))
