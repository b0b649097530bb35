"""Example of an extension: it gives back what it was called with.

To try it::

    brokerkit bpbroker install-extension --script echo.py
    echo '{"echo": {}}' | brokerkit bpbroker configure
    brokerkit bpclient -b HOST:20443 execute --method echo.Test --data hello
"""

from __future__ import annotations

import json
from typing import Any


def Test(rh: Any) -> None:
    """Answer with the query parameters as JSON."""
    rh.data = json.dumps(rh.qs)
