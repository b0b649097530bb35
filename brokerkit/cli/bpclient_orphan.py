"""Seeing that a command does not outlive who watches over it, where the system can do that: on Linux.

Nobody is left to end it in good order then, so the kernel kills it.  That reaches the command itself and not what it
has started, and is lost where the command is a program that changes its user (set-user-ID).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # of prctl(2)


def with_parent() -> Callable[[], None] | None:
    """Give what a child has to do before it becomes the command, so that it ends with this process; or nothing.

    Everything is looked up now, since between fork and exec as little as possible may be done.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return None
    parent = os.getpid()

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it has died meanwhile
            os.kill(os.getpid(), signal.SIGKILL)

    return bind
