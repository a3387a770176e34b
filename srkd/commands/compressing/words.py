"""What `srkd compress` says of its search and of its plan."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from srkd.commands.compressing.photographs import CROP_SIDE
from srkd.commands.compressing.recipes import choose_recipe
from srkd.commands.compressing.teacher import Traits
from srkd.degradation import make_degradation
from srkd.search.budgets import Budget
from srkd.search.choosing import Row, Search, describe_miss
from srkd.terminal import say, show

if TYPE_CHECKING:
    from srkd.commands.compressing.pipeline import Pipeline


def describe_row(row: Row, budgets: Sequence[Budget]) -> str:
    """A candidate with what it costs, in words."""
    costs = ", ".join(dict.fromkeys(f"{b.describe(row.costs[b.key])} of {b.text}" for b in budgets))
    return f"{row.candidate.name}, {row.candidate.parameters:,} parameters: {costs}"


def show_search(found: Search, budgets: Sequence[Budget]) -> None:
    """Prints the table of candidates, and why one was taken."""
    table = Table()
    for column in ("candidate", "parameters", "expected", *(b.text for b in budgets), ""):
        table.add_column(column, justify="left" if column in ("candidate", "") else "right")
    for row in found.shown():
        cells = []
        for budget in budgets:
            facts, value = row.measured.get(budget.key), budget.describe(row.costs[budget.key])
            if facts:
                low, high = (budget.describe(x) for x in facts["quartiles"])
                cells.append(f"{value} ({low} to {high})")
            else:
                cells.append(f"~ {value}" if budget.kind == "time" else value)
        mark = "taken" if row is found.chosen else "" if row.excess <= 0 else f"{row.excess:.0%} over"
        one = row.candidate
        table.add_row(one.name, f"{one.parameters:,}", f"{row.quality:+.2f} dB", *cells, mark)
    show(table)
    for line in found.notes:
        say(line)
    if found.chosen is not None:
        say(explain(found))
    else:
        say(describe_miss(found, budgets))


def explain(found: Search) -> str:
    """Why the candidate was taken, in a sentence."""
    assert found.chosen is not None
    count = sum(row.excess <= 0 for row in found.rows)
    best = next(row for row in found.rows if row.excess <= 0)
    other = ""
    if best is not found.chosen:
        other = f"; {best.candidate.name} has {best.quality:+.2f} dB, which is no more, and more layers"
    return (
        f"{found.chosen.candidate.name} is taken: of {len(found.rows)} candidates {count} are within the "
        f"budget, and none has a higher expected quality, {found.chosen.quality:+.2f} dB from bicubic after "
        f"long training{other}"
    )


def say_plan(pipeline: "Pipeline", traits: Traits, degradation: Any) -> None:
    """Says what a command would go on to do."""
    request = pipeline.request
    recipe = choose_recipe(traits, pipeline.discriminator is not None, request.hours >= 1)
    count = pipeline.count_crops(traits)
    minutes = count * CROP_SIDE**2 * traits.seconds_per_pixel / 60
    mix = make_degradation(degradation)
    made = "bicubic" if mix is None else f"the degradation {mix.preset}"
    say(
        f"photographs: {len(pipeline.train)} to train on, {len(pipeline.held)} held out; {count} crops, "
        f"LR by {made}; the "
        f"teacher's outputs on them take about {minutes:.1f} minutes"
    )
    beside = ", and as long for the control" if request.control else ""
    say(f"training: recipe {recipe}, {pipeline.training_seconds(traits) / 60:.1f} minutes{beside}")
    say("a dry run: nothing was trained")
