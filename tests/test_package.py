"""The package as it is imported, and the help of its commands."""

import re

import pytest
from conftest import run_python

import srkd
from srkd.cli import find_commands, main

# What a program of these words has imported when it has printed, of all that takes long to import.
IMPORTED = """
import sys
from srkd.cli import main
main(sys.argv[1:])
heavy = {'torch', 'torchvision', 'numpy', 'scipy', 'skimage', 'onnx', 'onnxruntime', 'PIL'}
commands = {m for m in sys.modules if m.startswith('srkd.commands.')}
print('imported:', *sorted(heavy & {m.partition('.')[0] for m in sys.modules} | commands))
"""


def test_importing_the_package_imports_no_torch():
    assert run_python("import sys, srkd; print('torch' in sys.modules)") == "False\n"


@pytest.mark.parametrize("words", [["--help"], ["help"], ["--version"], ["upscail"], []])
def test_help_and_version_import_no_command(words):
    out = run_python(IMPORTED, *words)
    assert out.splitlines()[-1] == "imported:"
    if words in (["--help"], ["help"], []):
        assert all(re.search(rf"^│ {name} +[A-Z]", out, re.MULTILINE) for name in find_commands())


def test_help_of_training_imports_neither_torch_nor_numpy():
    out = run_python(IMPORTED, "help", "distill")
    assert out.splitlines()[-1] == "imported: srkd.commands.distill"
    assert out.startswith("Usage: srkd distill DATA [OPTIONS]")


def test_no_help_imports_torch():
    program = "import sys; from srkd.cli import find_commands, main\n"
    program += "for name in find_commands(): main([name, '--help'])\nprint('torch' in sys.modules)"
    assert run_python(program).endswith("\nFalse\n")


@pytest.mark.parametrize("name", find_commands())
def test_every_command_explains_itself_in_80_columns(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith(f"Usage: srkd {name}") and max(map(len, lines)) <= 80
    # A sentence after the usage; every option has an explanation, and what it takes is a word for people.
    assert lines[2][:1].isupper()
    panels = [line.strip("│ *").rstrip() for line in lines if line.startswith("│")]
    options = [re.split(r" {2,}", line) for line in panels if re.match(r"(\w+ )?--[a-z]", line)]
    assert all(len(parts) == 2 and parts[1] for parts in options)
    for jargon in ("Union", "None", "list[", "str", "INT", "FLOAT", "CHOICE", "STR", "Sequence", "--no-"):
        assert not re.search(rf"(?<!\w){re.escape(jargon)}(?!\w)", out), jargon
    assert not re.search("Returns|Raises|--empty|--progress", out)


def test_every_command_stands_in_the_stub():
    # What is typed is the name of the file, and its function is public.
    for name, place in find_commands().items():
        module, _, function = place.partition(":")
        assert module == f"srkd.commands.{name}" and function in srkd.__all__


def test_every_public_name_is_there():
    for name in srkd.__all__:
        assert getattr(srkd, name) is not None
    with pytest.raises(AttributeError, match="distil"):
        _ = srkd.distil


def test_verbs_stay_functions_after_use(photos):
    srkd.evaluate("bicubic", str(photos), lpips="none")
    for place in find_commands().values():
        assert callable(getattr(srkd, place.partition(":")[2]))
