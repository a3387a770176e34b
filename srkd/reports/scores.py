"""Scores of models on data sets as tables: for the terminal, CSV and LaTeX.

A result is `{model, data, protocol, scale, parameters, macs, time, mean, images}`, with None for a cost that
is not known and for a score that no image has; and, with metrics that not all images have, `measured`, on how
many images each is there.
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
_NONE = "-"
# Characters of a name, before it is folded.
_LONGEST = 32


def image_table(result: Result) -> Table:
    """The scores of each image, and their mean."""
    # Names are escaped: in brackets there would be markup.
    table = Table(title=escape(f"{result['model']} x{result['scale']}, {result['protocol']}"))
    names = list(result["mean"])
    table.add_column("image", overflow="fold", max_width=_LONGEST)
    for column in names:
        table.add_column(column, justify="right")
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
    table.add_column("model", overflow="fold", max_width=_LONGEST)
    costs = _known_costs(results)
    for key in costs:
        table.add_column(COSTS[key], justify="right")
    for data, key in _columns(results):
        table.add_column(f"{escape(data)}\n{key}", justify="right")
    for row in _by_model(results):
        one = next(iter(row.values()))
        scores = (_score(row[data]["mean"][key], key) for data, key in _columns(results))
        table.add_row(escape(one["model"]), *(_cost(one[key], key) or _NONE for key in costs), *scores)
    return table


def to_csv(results: Sequence[Result]) -> str:
    """A line for each model and data set, with means."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys, partly = list(results[0]["mean"]), list(results[0].get("measured", {}))
    counts = [f"{key} images" for key in partly]
    writer.writerow(["model", "data", "images", "scale", "protocol", *COSTS, *keys, *counts])
    for result in results:
        facts = [result["model"], result["data"], len(result["images"]), result["scale"], result["protocol"]]
        costs = ["" if result[key] is None else result[key] for key in COSTS]
        scores = ["" if result["mean"][key] is None else result["mean"][key] for key in keys]
        writer.writerow([*facts, *costs, *scores, *(result["measured"][key] for key in partly)])
    return text.getvalue()


def list_partial(results: Sequence[Result]) -> list[str]:
    """Which means are over a part of the images, in lines."""
    groups: dict[tuple[str, str, int], list[str]] = {}
    for result in results:
        for key, count in result.get("measured", {}).items():
            if count < len(result["images"]):
                groups.setdefault((key, _data(result), count), []).append(result["model"])
    totals = {_data(result): len(result["images"]) for result in results}
    said = []
    for (key, data, count), models in groups.items():
        # What holds for all models is no matter of theirs.
        everyone = len(models) == sum(_data(result) == data for result in results)
        whose = f" of {data}" if data else ""
        over = f"{key}: " + (f"mean over {count} of" if count else "on none of")
        said.append(f"{over} {totals[data]} images{whose}" + ("" if everyone else f" ({', '.join(models)})"))
    return said


def _data(result: Result) -> str:
    return result.get("data", "")


def to_latex(results: Sequence[Result], reference: str | None, higher: Sequence[str] = ()) -> str:
    """A table for LaTeX's package booktabs, with the best score of each column in bold.

    Args:
        results, reference: as for `mean_table`.
        higher: the metrics of which more is better, beside PSNR and SSIM.
    """
    first, rows = results[0], _by_model(results)
    costs, columns = _known_costs(results), _columns(results)
    keys, sets = list(first["mean"]), list(dict.fromkeys(data for data, _ in columns))
    ends = [1 + len(costs) + len(keys) * k for k in range(len(sets) + 1)]
    groups = [rf"\multicolumn{{{len(keys)}}}{{c}}{{{_escape(data)}}}" for data in sets]
    heads = [
        "Model",
        *(_HEADS[key] for key in costs),
        *(
            _HEADS.get(key, rf"{_escape(key)} $\{'up' if key in higher else 'down'}arrow$")
            for _, key in columns
        ),
    ]
    best = {
        (data, key): _best([row[data]["mean"][key] for row in rows], key, key in (*_HIGHER, *higher))
        for data, key in columns
    }
    lines = [
        "% "
        + "; ".join([f"Protocol {first['protocol']}", *_notes(results, reference), *list_partial(results)]),
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
            if value is None:
                cells.append("--")
                continue
            text = _score(value, key) if math.isfinite(value) else r"$\infty$"
            bold = _rounded(value, key) == best[data, key]
            cells.append(rf"\textbf{{{text}}}" if bold else text)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _notes(results: Sequence[Result], reference: str | None) -> list[str]:
    """What the costs mean."""
    macs = ["GMACs for a 1280x720 output"] if "macs" in _known_costs(results) else []
    return [*macs, *([f"time over that of {reference}"] if reference else [])]


def _best(values: Sequence[float | None], key: str, higher: bool) -> float | None:
    known = [_rounded(value, key) for value in values if value is not None]
    return (max if higher else min)(known, default=None)


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


def _score(value: float | None, key: str) -> str:
    if value is None:
        return _NONE
    return f"{value:.2f}" if key == "psnr" else f"{value:.4f}"


def _rounded(value: float, key: str) -> float:
    """As it is printed: what looks the same is equally good."""
    return float(_score(value, key))


def _escape(text: str) -> str:
    return re.sub(r"[\\&%$#_{}~^]", lambda match: _LATEX[match[0]], text)
