"""The search for a student that keeps a budget."""

import pytest

from srkd import SrkdError
from srkd.search import choosing
from srkd.search.budgets import parse_budgets
from srkd.search.timing import Place


@pytest.mark.parametrize("busy", [False, True])
def test_a_time_that_nothing_keeps(tmp_path, monkeypatch, busy):
    monkeypatch.setattr(choosing, "warn_if_busy", lambda _: busy)
    budgets = parse_budgets(["0.001ms@16x16"])
    search = choosing.Searcher(budgets, Place("onnxruntime", 1, "fp32"), 4, tmp_path, ["compact"]).run()
    with pytest.raises(SrkdError, match=r"no network meets 0\.001ms@16x16: the nearest is compact") as caught:
        choosing.check_found(search, budgets)
    assert ("stop the programs that keep this machine busy" in str(caught.value)) == busy
