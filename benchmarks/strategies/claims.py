"""Differences to the controls, and verdicts on the papers' claims."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.strategies.rows import LAST_STAGE, STAGES
from srkd.metrics.intervals import BETTER, EQUAL, WORSE, paired_interval, tell_apart
from srkd.strategies import STRATEGIES

# The measures of differences, and whether higher is better.
COMPARED = {"psnr": True, "st-lpips-alex": False}
WORDS = {"psnr": "PSNR", "ssim": "SSIM"}
FAVOURITE = "g2g_al"

Rows = Sequence[dict[str, Any]]


def add_differences(rows: Rows) -> None:
    """Adds to each row with a control their paired difference at the same stage, by set and measure."""
    by_stage = {(row["row"], row["stage"]): row for row in rows}
    for row in rows:
        control = by_stage.get((row["control"], row["stage"]))
        if control is not None:
            row["difference"] = difference(row, control)


def difference(row: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            measure: paired_interval(found[measure]["seeds"], other["scores"][name][measure]["seeds"])
            for measure in COMPARED
        }
        for name, found in row["scores"].items()
    }


def check_claims(rows: Rows) -> list[dict[str, Any]]:
    """For each claim of the papers a verdict and the cases that it rests on."""
    distilled = [name for name, strategy in STRATEGIES.items() if strategy.teacher]
    mutual = "Mutual distillation of discriminators beats plain fine-tuning (Lee & Park 2022)"
    return [
        against_controls("Distilled students beat undistilled ones (Lee & Park 2021)", rows, distilled),
        against_rivals("G2G+AL is the best of the four (Lee & Park 2021)", rows, distilled),
        against_controls(mutual, rows, ["mutual"]),
    ]


def against_controls(claim: str, rows: Rows, names: Sequence[str]) -> dict[str, Any]:
    """Each method against its control, for every stage, measure and set."""
    lines, verdicts = [], []
    for stage, words in STAGES.items():
        found = [row for row in rows if row["row"] in names and row["stage"] == stage and "difference" in row]
        for measure, higher in COMPARED.items():
            groups: dict[str, list[str]] = {BETTER: [], WORSE: [], EQUAL: []}
            for row in found:
                by_set = {name: tell_apart(gaps[measure], higher) for name, gaps in row["difference"].items()}
                verdicts += by_set.values()
                for verdict, methods in groups.items():
                    sets = [name for name, value in by_set.items() if value == verdict]
                    methods += [f"{row['row']} ({', '.join(sets)})"] * bool(sets)
            if found:
                said = [f"{verdict}: {', '.join(methods)}" for verdict, methods in groups.items() if methods]
                lines.append(f"{words}, {WORDS.get(measure, measure)}: {'; '.join(said)}")
    return conclude(claim, verdicts, lines)


def against_rivals(claim: str, rows: Rows, names: Sequence[str]) -> dict[str, Any]:
    """The favourite against the other strategies after fine-tuning, for every measure and set."""
    students = {row["row"]: row for row in rows if row["row"] in names and row["stage"] == LAST_STAGE}
    favourite = students.pop(FAVOURITE, None)
    lines, verdicts = [], []
    if favourite is not None and students:
        gaps = {name: difference(favourite, row) for name, row in students.items()}
        for measure, higher in COMPARED.items():
            said = []
            for name in favourite["scores"]:
                verdict, words = rank({r: tell_apart(gap[name][measure], higher) for r, gap in gaps.items()})
                verdicts.append(verdict)
                said.append(f"{words} on {name}")
            lines.append(f"{STAGES[LAST_STAGE]}, {WORDS.get(measure, measure)}: {'; '.join(said)}")
    return conclude(claim, verdicts, lines)


def rank(by_rival: Mapping[str, str]) -> tuple[str, str]:
    """One verdict for the favourite from those against each rival, and its wording."""

    def rivals(verdict: str) -> str:
        return ", ".join(rival for rival, value in by_rival.items() if value == verdict)

    if rivals(WORSE):
        return WORSE, f"{FAVOURITE} is beaten by {rivals(WORSE)}"
    if rivals(EQUAL):
        return EQUAL, f"{FAVOURITE} is {EQUAL} from {rivals(EQUAL)}"
    return BETTER, f"{FAVOURITE} is best"


def conclude(claim: str, verdicts: Sequence[str], lines: Sequence[str]) -> dict[str, Any]:
    """A claim with its verdict over all cases."""
    better, worse, equal = (verdicts.count(verdict) for verdict in (BETTER, WORSE, EQUAL))
    if not verdicts:
        verdict = "not tested: the runs do not hold what it speaks of"
    elif better == len(verdicts):
        verdict = "held"
    elif better and worse:
        verdict = "held in some cases and the reverse in others"
    elif better:
        verdict = "held in part"
    else:
        verdict = "did not hold" if worse else EQUAL
    if verdicts:
        verdict += f" ({better} of {len(verdicts)} cases for it, {worse} against, {equal} {EQUAL})"
    return {"claim": claim, "verdict": verdict, "cases": list(lines)}
