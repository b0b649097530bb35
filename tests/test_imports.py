"""Imports point one way: the heart knows no protocol, protocols do not know each other, wires know no Twisted."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import brokerkit

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(brokerkit.__file__).parent
SHARED = (
    "stamp",
    "compiled",
    "bodies",
    "fields",
    "errors",
    "topics",
    "run",
    "unread",
    "grants",
    "framing",
    "subscription",
)
HEART = (*SHARED, "trie", "route", "router", "deliver", "outbox", "turn", "client", "realm", "session", "listener")
HEART = (*HEART, "broker", "plugin")
WITHOUT_TWISTED = ("topics", "run", "unread", "grants", "framing", "subscription", "trie", "router", "client")
MAY_WIRE_ALL = ("brokerkit.app", "brokerkit.testing", "brokerkit.cli")


def _name(path: Path) -> str:
    """Give the dotted name of a module."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in PACKAGE.rglob("*.py")}
WIRES = [name for name in MODULES if name.endswith(".wire")]
PROTOCOLS = sorted(path.parent.name for path in PACKAGE.glob("protocols/*/__init__.py"))


def _is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Give everything below a node that is there when the program runs, also inside functions."""
    for child in ast.iter_child_nodes(node):
        if _is_for_types_only(child):
            for alternative in child.orelse:  # type: ignore[attr-defined]
                yield alternative
                yield from _statements(alternative)
        else:
            yield child
            yield from _statements(child)


def _imports_of(source: str, name: str, *, is_package: bool = False) -> set[str]:
    """Give the dotted names that a module imports: the modules, and what it takes from them."""
    package = name.split(".") if is_package else name.split(".")[:-1]
    found: set[str] = set()
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found.add(origin)
            found.update(f"{origin}.{alias.name}" for alias in node.names)
    return found


def _imports(name: str) -> set[str]:
    path = MODULES[name]
    return _imports_of(path.read_text(), name, is_package=path.name == "__init__.py")


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _offences(name: str, package: str) -> list[str]:
    return sorted(other for other in _imports(name) if _within(other, package))


def test_the_reader_of_imports() -> None:
    """It sees imports of every form, also inside functions, but not those for type checkers alone."""
    source = """
from typing import TYPE_CHECKING
import a.b as c
from . import d
from .. import e
from .f import g
if TYPE_CHECKING:
    import not_this
else:
    import but_this
def function():
    from h import i
"""
    found = _imports_of(source, "p.q.r")
    assert {"a.b", "p.q", "p.q.d", "p", "p.e", "p.q.f", "p.q.f.g", "but_this", "h", "h.i"} <= found
    assert "not_this" not in found
    assert "p.q.r.d" in _imports_of(source, "p.q.r", is_package=True)


def test_there_is_something_to_look_at() -> None:
    """Every module that these tests name exists."""
    assert {f"brokerkit.{name}" for name in HEART} <= MODULES.keys()
    assert WIRES
    assert PROTOCOLS


@pytest.mark.parametrize("name", WIRES)
def test_wires_import_no_twisted(name: str) -> None:
    """A wire is bytes in, runs and commands out: it can be tested, fuzzed and compiled by itself."""
    assert not _offences(name, "twisted")


@pytest.mark.parametrize("name", WITHOUT_TWISTED)
def test_words_import_no_twisted(name: str) -> None:
    """What decides who gets what needs no reactor, not even a logger."""
    assert not _offences(f"brokerkit.{name}", "twisted")


@pytest.mark.parametrize("name", HEART)
def test_the_heart_imports_no_protocol(name: str) -> None:
    """No protocol's name stands in the heart: all are plugins alike."""
    assert not _offences(f"brokerkit.{name}", "brokerkit.protocols")


@pytest.mark.parametrize("name", SHARED)
def test_shared_words_import_only_each_other(name: str) -> None:
    """What everyone imports imports nothing but its like."""
    ours = {other.split(".")[1] for other in _imports(f"brokerkit.{name}") if other.startswith("brokerkit.")}
    assert ours <= {*SHARED}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols_do_not_know_each_other(protocol: str) -> None:
    """What two protocols share stands in the heart."""
    own = f"brokerkit.protocols.{protocol}"
    for name in MODULES:
        if _within(name, own):
            foreign = [o for o in _offences(name, "brokerkit.protocols") if not _within(o, own)]
            assert [o for o in foreign if o != "brokerkit.protocols"] == [], name


@pytest.mark.parametrize("name", [n for n in MODULES if not any(_within(n, package) for package in MAY_WIRE_ALL)])
def test_nothing_imports_the_wiring(name: str) -> None:
    """Only what starts a whole broker knows how one is put together."""
    assert not _offences(name, "brokerkit.app")


@pytest.mark.parametrize("name", [n for n in MODULES if not any(_within(n, package) for package in MAY_WIRE_ALL)])
def test_nothing_imports_the_command_line_or_the_tests(name: str) -> None:
    """The program does not depend on its own tools."""
    if name != "brokerkit.__main__":
        assert not _offences(name, "brokerkit.cli")
    assert not _offences(name, "brokerkit.testing")
