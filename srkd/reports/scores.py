"""Scores of models on data sets as tables: for the terminal, CSV and LaTeX.

A result is `{model, data, protocol, scale, parameters, macs, time, mean, images}`, with None for a cost that
is not known.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.markup import escape
from rich.table import Table

Result = Mapping[str, Any]

COSTS = {"parameters": "parameters", "macs": "GMACs", "time": "time"}
_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_HIGHER = ("psnr", "ssim")
_HEADS = {
    "parameters": "Parameters",
    "macs": "GMACs",
    "time": "Time",
    "psnr": r"PSNR $\uparrow$",
    "ssim": r"SSIM $\uparrow$",
}


def image_table(result: Result) -> Table:
    """The scores of each image, and their mean."""
    # Names are escaped: in brackets there would be markup.
    table = Table(title=escape(f"{result['model']} x{result['scale']}, {result['protocol']}"))
    names = list(result["mean"])
    for column in ("image", *names):
        table.add_column(column, justify="left" if column == "image" else "right")
    rows = [*result["images"], {"name": "mean", **result["mean"]}]
    for row in rows:
        if row is rows[-1]:
            table.add_section()
        table.add_row(escape(row["name"]), *(_score(row[key], key) for key in names))
    return table


def mean_table(results: Sequence[Result], reference: str | None) -> Table:
    """A line for each model: its costs, and its mean scores on each data set.

    Args:
        results: all models on all data sets.
        reference: the model whose time the others' are relative to.
    """
    first = results[0]
    table = Table(
        title=escape("; ".join([f"x{first['scale']}, {first['protocol']}", *_notes(results, reference)]))
    )
    table.add_column("model", overflow="fold")
    costs = _known_costs(results)
    for key in costs:
        table.add_column(COSTS[key], justify="right")
    for data, key in _columns(results):
        table.add_column(f"{escape(data)}\n{key}", justify="right")
    for row in _by_model(results):
        one = next(iter(row.values()))
        scores = (_score(row[data]["mean"][key], key) for data, key in _columns(results))
        table.add_row(escape(one["model"]), *(_cost(one[key], key) or "-" for key in costs), *scores)
    return table


def to_csv(results: Sequence[Result]) -> str:
    """A line for each model and data set, with means."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = list(results[0]["mean"])
    writer.writerow(["model", "data", "images", "scale", "protocol", *COSTS, *keys])
    for result in results:
        facts = [result["model"], result["data"], len(result["images"]), result["scale"], result["protocol"]]
        costs = ["" if result[key] is None else result[key] for key in COSTS]
        writer.writerow([*facts, *costs, *(result["mean"][key] for key in keys)])
    return text.getvalue()


def to_latex(results: Sequence[Result], reference: str | None) -> str:
    """A table for LaTeX's package booktabs, with the best score of each column in bold."""
    first, rows = results[0], _by_model(results)
    costs, columns = _known_costs(results), _columns(results)
    keys, sets = list(first["mean"]), list(dict.fromkeys(data for data, _ in columns))
    ends = [1 + len(costs) + len(keys) * k for k in range(len(sets) + 1)]
    groups = [rf"\multicolumn{{{len(keys)}}}{{c}}{{{_escape(data)}}}" for data in sets]
    heads = ["Model", *(_HEADS[key] for key in costs), *(_HEADS.get(key, _lower(key)) for _, key in columns)]
    best = {
        (data, key): (max if key in _HIGHER else min)(_rounded(row[data]["mean"][key], key) for row in rows)
        for data, key in columns
    }
    lines = [
        "% " + "; ".join([f"Protocol {first['protocol']}", *_notes(results, reference)]),
        rf"\begin{{tabular}}{{l{'r' * (len(costs) + len(columns))}}}",
        r"\toprule",
        " & ".join([*[""] * (1 + len(costs)), *groups]) + r" \\",
        "".join(rf"\cmidrule(lr){{{start + 1}-{end}}}" for start, end in pairwise(ends)),
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        one = next(iter(row.values()))
        cells = [_escape(one["model"]), *(_cost(one[key], key) or "--" for key in costs)]
        for data, key in columns:
            value = row[data]["mean"][key]
            text = _score(value, key) if math.isfinite(value) else r"$\infty$"
            bold = _rounded(value, key) == best[data, key]
            cells.append(rf"\textbf{{{text}}}" if bold else text)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _notes(results: Sequence[Result], reference: str | None) -> list[str]:
    """What the costs mean."""
    macs = ["GMACs for a 1280x720 output"] if "macs" in _known_costs(results) else []
    return [*macs, *([f"time over that of {reference}"] if reference else [])]


def _lower(key: str) -> str:
    return rf"{_escape(key)} $\downarrow$"


def _columns(results: Sequence[Result]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((result["data"], key) for result in results for key in result["mean"]))


def _by_model(results: Sequence[Result]) -> list[dict[str, Result]]:
    """For each model its results by data set."""
    rows: dict[str, dict[str, Result]] = {}
    for result in results:
        rows.setdefault(result["model"], {})[result["data"]] = result
    return list(rows.values())


def _known_costs(results: Sequence[Result]) -> list[str]:
    return [key for key in COSTS if any(result[key] is not None for result in results)]


def _cost(value: float | None, key: str) -> str:
    if value is None:
        return ""
    return f"{value:,}" if key == "parameters" else f"{value / 1e9:.1f}" if key == "macs" else f"{value:.2f}"


def _score(value: float, key: str) -> str:
    return f"{value:.2f}" if key == "psnr" else f"{value:.4f}"


def _rounded(value: float, key: str) -> float:
    """As it is printed: what looks the same is equally good."""
    return float(_score(value, key))


def _escape(text: str) -> str:
    return re.sub(r"[\\&%$#_{}~^]", lambda match: _LATEX[match[0]], text)
