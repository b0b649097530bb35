"""Advertising by mDNS, with a library that only takes notes."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from twisted.internet.task import Clock

from brokerkit.errors import ConfigError
from brokerkit.protocols.bpbroker.mdns import KIND, Advertising, find_library
from tests.protocols.bpbroker.test_view import AtOnce


class Library:
    """What of zeroconf is used."""

    def __init__(self, *, fails: bool = False) -> None:
        """Begin with nothing done."""
        self.done: list[Any] = []
        self.fails = fails

    class InterfaceChoice:
        """Its word for all interfaces."""

        All = "all"

    def Zeroconf(self, interfaces: object) -> Library:
        """Open."""
        self.done.append(("open", interfaces))
        return self

    def ServiceInfo(self, *given: Any, **named: Any) -> Any:
        """Describe."""
        return given, named

    def register_service(self, info: Any, *, allow_name_change: bool) -> None:
        """Register."""
        if self.fails:
            raise OSError("no multicast here")
        self.done.append(("register", info, allow_name_change))

    def unregister_service(self, info: Any) -> None:
        """Say goodbye."""
        self.done.append(("goodbye", info))

    def close(self) -> None:
        """Close."""
        self.done.append(("close",))


def advertising(library: Library) -> Advertising:
    """Give one that is not started."""
    return Advertising(library, "here", lambda: ("10.0.0.1", 20443, "ab"), Clock(), AtOnce())


def test_it_says_what_and_goodbye() -> None:
    """Name, port and fingerprint are advertised, nothing else; at the end it says goodbye."""
    library = Library()
    one = advertising(library)
    one.startService()
    [opened, (word, (given, named), renaming)] = library.done
    assert (opened, word, renaming) == (("open", ["10.0.0.1"]), "register", True)
    assert given == (KIND, f"here.{KIND}")
    assert (named["port"], named["properties"]) == (20443, {"v": "1", "fp": "ab"})
    assert named["parsed_addresses"] == ["10.0.0.1"]
    one.stopService()
    assert [done[0] for done in library.done[2:]] == ["goodbye", "close"]


def test_where_there_is_no_multicast() -> None:
    """It is said in the log, and what was opened is closed."""
    library = Library(fails=True)
    one = advertising(library)
    one.startService()
    one.stopService()
    assert library.done[-1] == ("close",)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(ConfigError, match=r"mdns: found true, expected the package zeroconf.*brokerkit\[mdns\]"):
        find_library("bpbroker")
