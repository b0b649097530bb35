"""A broker that is advertised by mDNS is found by the library that others find it with, and is gone later."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Any

import pytest
import zeroconf

from tests.registry_process import SECONDS, Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


KIND = "_bpbroker._tcp.local."
HERE = ["127.0.0.1"]


class Seen:
    """What a browser says of services of our kind: whether each has come (or is gone), and its name."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._said: queue.Queue[tuple[bool, str]] = queue.Queue()

    def add_service(self, _: object, __: str, name: str) -> None:
        """Hear that one is there."""
        self._said.put((True, name))

    def update_service(self, _: object, __: str, name: str) -> None:
        """Hear that one is another now."""

    def remove_service(self, _: object, __: str, name: str) -> None:
        """Hear that one is gone."""
        self._said.put((False, name))

    def find(self, is_there: bool, part: str) -> str:
        """Wait for a name in which ``part`` stands, that comes or goes."""
        end = time.monotonic() + SECONDS
        while True:
            said = self._said.get(timeout=max(end - time.monotonic(), 0.01))
            if said[0] == is_there and part in said[1]:
                return said[1]


@pytest.fixture
def browser() -> Iterator[tuple[Any, Seen]]:
    """Give the library and what it has seen, on this machine's own address alone."""
    library, seen = zeroconf.Zeroconf(interfaces=HERE), Seen()
    zeroconf.ServiceBrowser(library, KIND, seen)
    yield library, seen
    library.close()


def test_it_is_found(tmp_path: Path, browser: tuple[Any, Seen]) -> None:
    """Its port and the fingerprint that it says at its start; when it stops it says goodbye."""
    library, seen = browser
    process = Process(tmp_path, last="mdns = true")
    process.start()
    try:
        name = seen.find(True, "")
        info = library.get_service_info(KIND, name, timeout=SECONDS * 1000)
        assert info.port == process.ports["bpbroker"]
        assert info.properties[b"v"] == b"1"
        assert info.properties[b"fp"].decode() in process.log().replace(":", "").lower()
    finally:
        process.stop()
    assert seen.find(False, name) == name
