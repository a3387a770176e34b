"""What `srkd upscale` made: its journal in a folder of results, by which other commands know them."""

import json
from pathlib import Path
from typing import Any

from srkd.files import is_file
from srkd.images.folders import Found

JOURNAL = ".srkd-upscale.jsonl"


def read_journal(folder: Path) -> tuple[dict[str, dict[str, Any]], bool]:
    """The entries of a folder's journal by their targets, none without a journal; and whether its last line
    is whole, which a kill may have cut short."""
    path, made = folder / JOURNAL, {}
    if not is_file(path):
        return made, True
    text = path.read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            made[entry["target"]] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return made, text.endswith("\n")


def leave_out_results(found: Found) -> None:
    """Takes out what `srkd upscale` wrote into folders inside this one, or into it beside other images. A
    folder of nothing but results was named for their sake."""
    for folder in found.folders:
        results = {folder / name for name in read_journal(folder)[0]}.intersection(found.images)
        if folder != found.root or len(results) < len(found.images):
            found.leave_out("result{s} of srkd upscale", results)
