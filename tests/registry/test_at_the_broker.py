"""The broker's registry: made once, when somebody needs it, in the data directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.testing import MemoryReactorClock

from brokerkit.broker import Broker
from brokerkit.registry import Put

if TYPE_CHECKING:
    from pathlib import Path


def test_in_the_data_directory(tmp_path: Path) -> None:
    """It is a file there, and a child of the broker."""
    broker = Broker(MemoryReactorClock(), [])
    broker.directory = tmp_path
    assert not broker.has_registry
    registry = broker.registry
    assert broker.registry is registry
    assert broker.has_registry
    assert registry in broker.services
    assert registry.path == tmp_path / "registry.sqlite"
    assert not registry.path.exists()


def test_without_a_data_directory() -> None:
    """It is in memory, and works."""
    broker = Broker(MemoryReactorClock(), [])
    broker.registry.startService()
    broker.registry.write([Put("a", {})])
    assert broker.registry.get("a") is not None
