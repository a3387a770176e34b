"""What a comparison concludes from its intervals and its curves."""

import re

import pytest

from srkd.reports.comparison import conclude


def gap(mean, half_width):
    return {"mean": mean, "half_width": half_width}


def row(psnr, lpips, bd=None):
    found = {"difference": {"psnr": gap(*psnr), "lpips": gap(*lpips)}}
    return found if bd is None else {**found, "bd": bd}


def bd(lpips, psnr, none=()):
    return {
        key: {**gap(*value), "seeds": [value[0]] * 3, "none": list(none)}
        for key, value in (("lpips", lpips), ("psnr", psnr))
    }


NONE = (None, None)
# A trade of half a decibel for LPIPS, at the end of training.
TRADE = ((-0.5, 0.1), (-0.01, 0.005))
APART = ["the curves share 10% of their PSNR, less than half"]
CASES = [
    (
        row((0.2, 0.1), (-0.01, 0.005)),
        "helps: PSNR +0.200 ± 0.100 dB, better; st-lpips-alex -0.0100 ± 0.0050",
    ),
    (row((0.2, 0.1), (-0.01, 0.02)), "helps: PSNR +0.200 ± 0.100 dB, better; .*not told apart"),
    (row((0.05, 0.1), (0.01, 0.005)), "hurts: PSNR .* not told apart; .* worse"),
    (row((0.05, 0.1), (0.01, 0.02)), "is not told apart from its control: "),
    (row(*TRADE), "trades one measure for the other: .*worse; .*better; --curves tells"),
    # What the curves say comes first: the same end point may be a gain or none.
    (row(*TRADE, bd((-0.002, 0.001), (0.1, 0.05))), "helps: BD-LPIPS -0.0020 ± 0.0010 at equal PSNR"),
    (row(*TRADE, bd((0.002, 0.001), (0.1, 0.2))), "hurts: BD-LPIPS .*At the end of training: "),
    (row(*TRADE, bd((0.002, 0.003), (0.1, 0.2))), "is not told apart from its control: BD-LPIPS"),
    (row(*TRADE, bd((0.002, 0.001), (0.2, 0.1))), "helps by one curve and hurts by the other: "),
    (row(*TRADE, bd(NONE, NONE, APART)), "trades one measure .*no BD: the curves share 10%"),
    (row((0.2, None), (-0.01, None)), "PSNR +0.200 dB and st-lpips-alex -0.0100 from the control with one"),
]


@pytest.mark.parametrize(("found", "expected"), CASES)
def test_conclusions_follow_the_intervals(found, expected):
    said = conclude(found, "st-lpips-alex")
    # Plus signs are meant as they stand.
    assert re.match(expected.replace("+", r"\+"), said), said
    assert "\n" not in said
