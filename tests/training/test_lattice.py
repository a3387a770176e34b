"""The default adversarial fine-tuning leaves no lattice on flat ground."""

import srkd

START = "compact_48x8_psnr"


def measure(weights) -> float:
    """The lattice on the held-out photographs, in levels."""
    found = srkd.evaluate(weights, "embedded", metrics="lattice", lpips="none", verbose=False)
    return found["mean"]["lattice"]


def test_default_finetuning_leaves_no_lattice(tmp_path):
    """It has 0.09 levels before and 0.19 after; without the losses grid and blocking 0.99."""
    run = srkd.finetune(
        "embedded",
        start=START,
        out=tmp_path / "run",
        # A third of the default rate: a stage this short would end amid the noise of Adam's first steps.
        stages={"finetune": {"rate": 3e-5}},
        **{"steps": 40, "crop": 96, "batch": 1, "threads": 1, "validate_every": 1000, "verbose": False},
    )
    assert measure(run.weights["finetune"]) < 4 * measure(START)
