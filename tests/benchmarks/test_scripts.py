"""What all scripts of benchmarks/ have in common."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = [path for path in ROOT.rglob("*.py") if '__name__ == "__main__"' in path.read_text("utf-8")]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_finds_the_others_from_a_checkout(path):
    """The installed package has no benchmarks, and python puts the script's own folder on the path alone."""
    lines = path.read_text("utf-8").splitlines()
    wanted = [number for number, line in enumerate(lines) if line.startswith("from benchmarks")]
    added = [number for number, line in enumerate(lines) if line.startswith("sys.path.insert(0, ")]
    assert not wanted or (added and added[0] < wanted[0])
    assert lines[0].startswith('"""')
