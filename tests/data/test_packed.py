"""Packed data sets hold what folders hold."""

import json
import os

import numpy as np
import pytest

from srkd import SrkdError
from srkd.data import Crops, open_data


def test_a_packed_set_holds_what_the_folder_holds(photos, packed):
    loose, mapped = open_data(str(photos), 4), open_data(str(packed), 4)
    assert loose.identity == mapped.identity and (len(loose.train), len(loose.val)) == (5, 1)
    for part in ("train", "val"):
        for a, b in zip(getattr(loose, part), getattr(mapped, part), strict=True):
            assert a.name == b.name and a.sha256 == b.sha256
            np.testing.assert_array_equal(a.lr, b.lr)
            np.testing.assert_array_equal(a.hr, b.hr)
    assert isinstance(mapped.train[0].hr.base, np.ndarray) and not mapped.train[0].hr.flags.writeable
    manifest = json.loads((packed / "manifest.json").read_text())
    assert manifest["scale"] == 4 and manifest["resampler"] == "matlab-bicubic"
    held = (packed / "validation.sha256").read_text().splitlines()
    assert held == [f"{p.sha256}  {p.name}" for p in mapped.val]


def test_batches_from_a_packed_set_are_those_from_the_folder(photos, packed):
    batches = [Crops(open_data(str(d), 4).train, 32, 4, 4, [0]) for d in (photos, packed)]
    for step in range(5):
        for a, b in zip(*(crops(step) for crops in batches), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("harm", ["short", "missing", "manifest"])
def test_a_damaged_set_is_named(packed, harm):
    path = packed / ("manifest.json" if harm == "manifest" else "hr.u8")
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SrkdError, match=rf"{path.name}.*run srkd prepare again"):
        open_data(str(packed), 4)


def test_a_set_that_changes_is_noticed(packed):
    found = open_data(str(packed), 4)
    found.check_unchanged()
    os.utime(packed / "hr.u8", ns=(1, 1))
    with pytest.raises(SrkdError, match=r"hr\.u8 was changed while training"):
        found.check_unchanged()
