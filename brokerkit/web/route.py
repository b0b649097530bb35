"""One table of routes: what is asked for by which method, what answers it, and what the documentation says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import attrs

from brokerkit.web.answer import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from brokerkit.web.asked import Asked


@attrs.frozen
class Parameter:
    """One thing that can be said in a request; ``where`` is path, query or header.

    ``schema`` is what it has to be in words of JSON Schema, where that is more than its ``kind``.
    """

    name: str
    text: str
    where: str = "query"
    kind: str = "string"
    required: bool = False
    schema: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)


@attrs.frozen
class Route:
    """What ``call`` answers: requests of ``method`` to paths as ``template`` has them.

    A part ``{name}`` of a template stands for one part of a path, which is handed over decoded (``Asked.values``), so
    that a slash within a name is written ``%2F``.  ``call`` takes an ``Asked`` and gives an ``Answer`` or a ``Stream``,
    or a coroutine or Deferred of one.  ``answers`` are statuses and what they mean; ``body`` says what is sent with it.
    ``request`` is the schema of the body by media type, ``replies`` those of answers by status and media type.  Without
    ``needs_body`` the body may be left out.
    """

    method: str
    template: str
    call: Callable[[Asked], Any] = attrs.field(repr=False)
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    answers: Mapping[int, str] = attrs.field(factory=dict)
    body: str = ""
    request: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)
    replies: Mapping[int, Mapping[str, Any]] = attrs.field(factory=dict, repr=False, eq=False)
    needs_body: bool = False
    names: tuple[str, ...] = attrs.field(init=False, repr=False)  # of the open parts

    @names.default
    def _names(self) -> tuple[str, ...]:
        return tuple(part[1:-1] for part in self.template.split("/") if part.startswith("{"))


class Routes:
    """Finds the route of a request in steps of one dictionary look-up for each part of its path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Take the table; raise ``ValueError`` if two of it mean the same requests."""
        self.all = tuple(routes)
        self._root = _Place()
        for route in self.all:
            place = self._root
            for part in _parts(route.template.encode()):
                place = place.below(part)
            if route.method in place.methods:
                raise ValueError(f"two routes for {route.method} {route.template}")
            place.methods[route.method] = route

    def find(self, path: bytes) -> tuple[dict[str, Route], list[bytes]] | None:
        """Give the routes of a path by method, and the parts that the template leaves open; ``None`` for no route."""
        place, opened = self._root, []
        for part in _parts(path):
            following = place.literal.get(part)
            if following is None:
                if place.opened is None or not part:
                    return None
                following = place.opened
                opened.append(part)
            place = following
        return (place.methods, opened) if place.methods else None


def values(route: Route, opened: list[bytes]) -> dict[str, str]:
    """Give the open parts of a path by the names in the template; raise ``Problem`` 400 if one is no UTF-8."""
    try:
        return {
            name: (unquote_to_bytes(part) if b"%" in part else part).decode()
            for name, part in zip(route.names, opened, strict=True)
        }
    except UnicodeDecodeError:
        raise Problem(400, "Not UTF-8", "a part of the path is no UTF-8") from None


def _parts(path: bytes) -> list[bytes]:
    return path.split(b"/")[1:]


class _Place:
    """What may follow after the beginning of a path."""

    def __init__(self) -> None:
        self.methods: dict[str, Route] = {}
        self.literal: dict[bytes, _Place] = {}
        self.opened: _Place | None = None

    def below(self, part: bytes) -> _Place:
        if part.startswith(b"{"):
            if self.opened is None:
                self.opened = _Place()
            return self.opened
        return self.literal.setdefault(part, _Place())
