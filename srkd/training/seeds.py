"""Seeds derived from names, so that each random choice depends on its place alone."""

import zlib
from typing import Any


def hash_int(text: str) -> int:
    """A stable 31-bit integer of a text; Python's own hash differs between processes."""
    return zlib.crc32(text.encode()) & 0x7FFFFFFF


def derive_seed(seed: int, *place: Any) -> int:
    """A seed for one place, such as a member's loss or a step's degradation."""
    return hash_int("/".join(map(str, (seed, *place))))
