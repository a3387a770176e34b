"""How much faster than the teacher the networks are, under ONNX Runtime in one run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import srkd
from benchmarks.common import machine
from benchmarks.real.networks import Network
from benchmarks.runtimes import enlarge_bicubic, open_onnx, random_image, to_batch
from benchmarks.timing import summarise, take_turns, timed
from srkd.models.cost import count_parameters
from srkd.terminal import console
from srkd.upscaling.opening import BICUBIC
from srkd.weights.catalogue import find_onnx, find_weights

SIZE = (80, 60)
# A turn of each network lasts about as long as this many seconds, but not longer than this many runs.
SUSTAINED, MOST = 0.4, 20


def time_networks(networks: Sequence[Network], threads: int, turns: int) -> dict[str, Any]:
    """Seconds for an LR picture of 80x60, the networks in turns. The second network is the teacher."""
    image = random_image(SIZE)
    batch, works = to_batch(image), {}
    for network in networks:
        if network.weights == BICUBIC:
            works[network.label] = lambda: enlarge_bicubic(image)
        else:
            run = open_onnx(find_onnx(network.weights) or find_weights(network.weights), threads)
            works[network.label] = lambda run=run: run(batch)
    repeats = {label: count_repeats(work) for label, work in works.items()}
    console.print(f"timing, {turns} turns and one to warm up", markup=False)
    seconds = take_turns([timed(label, work, repeats[label]) for label, work in works.items()], turns)
    return {
        "size": f"{SIZE[0]}x{SIZE[1]}",
        "threads": threads,
        "turns": turns,
        "runtime": "ONNX Runtime; bicubic by Pillow",
        "machine": machine(),
        "networks": compare_to_teacher(networks[1].label, seconds, count_all(networks)),
    }


def count_repeats(work: Any) -> int:
    """How often a network runs in a turn, from its second run."""
    seconds = min(take_turns([timed("", work)], 1)[""])
    return int(np.clip(SUSTAINED / seconds, 1, MOST))


def count_all(networks: Sequence[Network]) -> dict[str, int]:
    found = {network.label: 0 for network in networks if network.weights == BICUBIC}
    for network in networks:
        if network.weights != BICUBIC:
            found[network.label] = count_parameters(srkd.load_generator(network.weights))
    return found


def compare_to_teacher(
    teacher: str, seconds: Mapping[str, Sequence[float]], parameters: Mapping[str, int]
) -> dict[str, Any]:
    """For each network its parameters, the median seconds, and how many times as long the teacher takes,
    within a turn."""
    return {
        label: {
            "parameters": parameters[label],
            "seconds": summarise(each)["median"],
            "times_faster": summarise(np.divide(seconds[teacher], each)),
        }
        for label, each in seconds.items()
    }
