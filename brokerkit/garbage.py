"""The garbage collector, set up for a program that runs for long and keeps what it has loaded.

Without this it goes through all users and all code again and again because connections come and go: a fifth of what a
login costs.
"""

from __future__ import annotations

import gc

YOUNG = 10_000  # objects that come to be between two looks at the youngest; Python's own choice is 700


def settle() -> None:
    """Leave alone what is there by now, and look less often at what comes: for a program, once it has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
