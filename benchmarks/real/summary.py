"""What a result says of every network on every kind of picture."""

from collections.abc import Sequence
from typing import Any

from benchmarks.common import versions
from benchmarks.real.networks import Network
from benchmarks.real.score import HIGHER_IS_BETTER, MEASURES, Row
from benchmarks.real.shares import average_pictures, compare, mean_by_picture, share_of_the_way
from benchmarks.strategies.score import LPIPS, PROTOCOL


def describe(networks: Sequence[Network]) -> dict[str, Any]:
    """What every result says of itself."""
    return {
        "protocol": PROTOCOL,
        "teacher": networks[1].label,
        "networks": {network.label: network.identity for network in networks},
        "versions": versions("srkd", "torch", "onnxruntime"),
    }


def summarise(rows: Sequence[Row], networks: Sequence[Network], base: str) -> dict[str, list[dict[str, Any]]]:
    """By kind of picture, for each network its scores, their differences from those of the network `base`,
    and its shares of the teacher's way."""
    kinds = dict.fromkeys(row.case.kind for row in rows)
    return {
        kind: summarise_kind([row for row in rows if row.case.kind == kind], networks, base) for kind in kinds
    }


def summarise_kind(rows: Sequence[Row], networks: Sequence[Network], base: str) -> list[dict[str, Any]]:
    by_network = {
        network.label: {
            name: mean_by_picture(
                (row.case.name, row.scores[name]) for row in rows if row.network == network.label
            )
            for name in MEASURES
        }
        for network in networks
    }
    bicubic, teacher = (by_network[network.label] for network in networks[:2])
    others, found = by_network[base], []
    for label, own in by_network.items():
        gaps = {name: compare(own[name], others[name], name in HIGHER_IS_BETTER) for name in MEASURES}
        entry = {
            "network": label,
            "scores": {name: average_pictures(own[name]) for name in MEASURES if own[name]},
            "difference": {name: gap for name, gap in gaps.items() if gap is not None and label != base},
            "share": {
                name: share_of_the_way(*(list(each[name].values()) for each in (bicubic, own, teacher)))
                for name in LPIPS
                if bicubic[name]
            },
        }
        found.append(entry)
    return found
