"""What other packages warn of about their own code."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Filters are the process's: two blocks that changed them at once would not leave them as they were.
_lock = threading.RLock()


@contextmanager
def ignoring_warnings() -> Iterator[None]:
    """Inside, no warnings are shown; afterwards the filters are as before. One thread at a time."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
