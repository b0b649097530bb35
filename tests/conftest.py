"""What holds for every test."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# A shell that runs the tests in the background has them, and all that they start, ignore SIGINT; some tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests run side by side, so how long one example takes says nothing.  Where a change is judged, the same examples are
# tried each time: what chance finds is for whoever looks for it.
settings.register_profile("brokerkit", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("brokerkit")
