"""The search for a student that keeps a budget."""

import pytest

from srkd import SrkdError, create_generator
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


def test_a_trained_start_counts(tmp_path):
    """Of compact only networks with as many convolutions can start from the trained one."""
    trained = create_generator("compact", 4, channels=48, convs=8)
    budgets, place = parse_budgets(["50kparams"]), Place("onnxruntime", 1, "fp32")

    def run(*networks):
        return choosing.Searcher(budgets, place, 4, tmp_path, ["compact"], trained=networks).run()

    cold, warm = run(), run(trained)
    assert not any("starts:" in line for line in cold.notes)
    assert any("starts:" in line and "0.5 dB" in line for line in warm.notes)
    before = {row.candidate.name: row.quality for row in cold.rows}
    for row in warm.rows:
        behind = row.candidate.options["convs"] != 8
        assert row.quality == pytest.approx(before[row.candidate.name] - choosing.HEAD_START * behind)
    assert warm.chosen is not None and warm.chosen.candidate.options["convs"] == 8
