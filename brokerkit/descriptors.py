"""File descriptors: each connection is one, and the usual soft limit of 1024 is for programs that have few.

Running out of them all the same is survived by Twisted itself: it keeps one in reserve, with which it accepts and
closes what it cannot serve.
"""

from __future__ import annotations

import resource


def raise_limit() -> int:
    """Raise this process's limit as far as it may by itself; give the limit that is now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS says "unlimited" and means less
            return soft
    return hard
