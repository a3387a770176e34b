"""Budgets as they are written."""

import pytest

from srkd import UsageError
from srkd.search.budgets import compare, parse_budgets, worst


@pytest.mark.parametrize(
    ("text", "kind", "limit", "size"),
    [
        ("30ms@320x180", "time", 0.03, (320, 180)),
        ("0.5s@64x48", "time", 0.5, (64, 48)),
        ("50fps@320x180", "time", 0.02, (320, 180)),
        ("200kparams", "parameters", 200_000, None),
        ("1.5Mparameters", "parameters", 1_500_000, None),
        ("5000params", "parameters", 5000, None),
        ("2MB", "bytes", 2e6, None),
        ("1MiB", "bytes", 2**20, None),
        ("10GMACs@640x360", "macs", 1e10, (640, 360)),
        ("10GMACs", "macs", 1e10, (1280, 720)),
        ("30 ms@320x180", "time", 0.03, (320, 180)),
    ],
)
def test_a_budget_is_read(text, kind, limit, size):
    (budget,) = parse_budgets(text)
    assert (budget.kind, budget.size) == (kind, size) and budget.limit == pytest.approx(limit)


def test_several_come_with_commas_or_apart():
    texts = [budget.text for budget in parse_budgets(["30ms@320x180,2MB", "200kparams", "2MB"])]
    assert texts == ["30ms@320x180", "2MB", "200kparams"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "give a budget"),
        ("30ms", "needs the size of the LR image, as 30ms@320x180"),
        ("fast", "is not one of 30ms@320x180"),
        ("200k", "unknown unit 'k'"),
        ("200kparams@320x180", "only times and multiply-accumulates have a size"),
        ("0ms@320x180", "more than 0"),
        ("-3ms@320x180", "is not one of"),
        ("30ms@0x180", "from 16 to 8192"),
        ("30ms@320", "is not one of"),
        ("5 apples", "unknown unit 'apples'"),
    ],
)
def test_what_is_no_budget_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        parse_budgets(text)


def test_the_worst_budget_is_the_one_furthest_over():
    budgets = parse_budgets("30ms@320x180,200kparams")
    found, excess = worst(budgets, {"time@320x180": 0.033, "parameters": 300_000})
    assert found.text == "200kparams" and excess == pytest.approx(0.5)
    assert [row["kept"] for row in compare(budgets, {"time@320x180": 0.03, "parameters": 200_001})] == [
        True,
        False,
    ]
