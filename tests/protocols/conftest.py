"""What the tests of all protocols share: no test may pass over a bug that the broker caught and logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.logger import globalLogPublisher

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def bugs() -> Iterator[list[Any]]:
    """Fail a test in which a traceback was logged; one that wants it looks at the list and clears it."""
    found: list[Any] = []

    def observe(event: Any) -> None:
        if "log_failure" in event:
            found.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)
    assert not found, found
