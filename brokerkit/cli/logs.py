"""Where the log of ``hpfeeds-broker`` goes: to stderr, as the original's does, from a level on.

twistd asks for a function without arguments, by its dotted name, so there is one for each level.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    textFileLogObserver,
)
from zope.interface import provider


@provider(ILogObserver)
def everything() -> FilteringLogObserver:
    """Give an observer that writes all there is."""
    return _from(LogLevel.debug)


@provider(ILogObserver)
def information() -> FilteringLogObserver:
    """Give an observer that leaves out what is for debugging only."""
    return _from(LogLevel.info)


def _from(level: Any) -> FilteringLogObserver:  # noqa: ANN401  one of LogLevel's constants
    return FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(level)])
