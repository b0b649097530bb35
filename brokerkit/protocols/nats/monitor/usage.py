"""What the process uses: memory, and the share of a processor since somebody last asked."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

_STATM = Path("/proc/self/statm")
_KIB = 1 if sys.platform == "darwin" else 1024  # what the largest size is counted in
_SOON = 1.0  # seconds: a share of less than this says nothing, so the last one is given again


class Usage:
    """Memory and processor time of this process."""

    def __init__(self) -> None:
        """Begin to measure."""
        self._at, self._used = time.monotonic(), time.process_time()
        self._share = 0.0

    @property
    def memory(self) -> int:
        """The resident bytes; where the system does not tell, the most that they have been."""
        try:
            return int(_STATM.read_text().split()[1]) * resource.getpagesize()
        except (OSError, ValueError, IndexError):
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB

    @property
    def processor(self) -> float:
        """The per cent of one processor that were used since somebody last asked, to one digit."""
        now, used = time.monotonic(), time.process_time()
        if now - self._at >= _SOON:
            self._share = round((used - self._used) / (now - self._at) * 100, 1)
            self._at, self._used = now, used
        return self._share

    @property
    def cores(self) -> int:
        """The processors that this process may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
