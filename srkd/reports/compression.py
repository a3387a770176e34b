"""The page of `srkd compress`: budget, what was reached, quality, crops, the search, training, hours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srkd.files import write_text
from srkd.reports.page import plot_curves
from srkd.reports.templates import render


def write_page(
    path: Path,
    texts: Mapping[str, Any],
    runs: Mapping[str, Sequence[Path]],
    crops: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Writes the page.

    Args:
        path: the file.
        texts: the values of the template's other variables.
        runs: run folders by label, whose logs are drawn one behind the other.
        crops: for each photograph, equal-sized crops `(H, W, 3)` uint8 by caption.
    """
    write_text(path, render("compression.html.j2", crops=crops, curves=plot_curves(runs), **texts))


def candidate_rows(
    rows: Sequence[Mapping[str, Any]], chosen: str, costs: Sequence[tuple[str, str, Any]]
) -> list[dict[str, Any]]:
    """The search's table: for each candidate its `cells` by column, and its `mark` as a class.

    Args:
        rows: as `Row.to_json` gives them.
        chosen: the name of the candidate that was taken.
        costs: for each budget its text, its key and what describes a value of it.
    """
    found = []
    for row in rows:
        cells = {
            "candidate": row["name"],
            "parameters": f"{row['candidate']['parameters']:,}",
            "expected quality": f"{row['quality']:+.2f} dB",
        }
        for text, key, describe in costs:
            facts, value = row["measured"].get(key), describe(row["costs"][key])
            if facts:
                low, high = (describe(x) for x in facts["quartiles"])
                cells[text] = f"{value} ({low} to {high})"
            else:
                cells[text] = f"{value}, predicted" if key.startswith("time") else value
        taken = row["name"] == chosen
        cells[" "] = "taken" if taken else "within" if row["excess"] <= 0 else f"{row['excess']:.0%} over"
        found.append({"cells": cells, "mark": "taken" if taken else "over" if row["excess"] > 0 else ""})
    return found
