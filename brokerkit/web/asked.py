"""What a call is told of a request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.web.answer import Problem
from brokerkit.web.query import parse_query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerkit.web.connection import Connection
    from brokerkit.web.head import Headers


@attrs.define(eq=False)
class Asked:
    """One request, read to its end.

    ``target`` is what stood in the request line, ``path`` and ``raw_query`` its parts before and behind the first
    ``?``; all as they came.  ``headers`` are by their names in small letters.  ``values`` are the parts of the path
    that the route's template names, decoded.  ``address`` is the peer's host.  None of it is in the repr: there are
    secrets in queries and headers.
    """

    method: str
    target: bytes = attrs.field(repr=False)
    path: bytes = attrs.field(repr=False)
    raw_query: bytes = attrs.field(repr=False)
    headers: Headers = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    address: str
    connection: Connection = attrs.field(repr=False)
    values: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    _query: dict[str, str] | None = attrs.field(default=None, repr=False)

    @property
    def query(self) -> dict[str, str]:
        """Give the parameters of the query, the last of each name; raise ``Problem`` 400 if they are no UTF-8."""
        if self._query is None:
            self._query = parse_query(self.raw_query)
        return self._query

    def header(self, name: str) -> str:
        """Give the last header of that name, empty if there is none; what is no UTF-8 in it is replaced."""
        found = self.headers.get(name.encode())
        return found[-1].decode(errors="replace") if found else ""

    def json(self) -> Any:  # noqa: ANN401  any JSON
        """Give the body as JSON; raise ``Problem`` 400 if it is none."""
        return read_json(self.body)

    def on_lost(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have ``call`` called when the connection ends; gives what takes that back."""
        return self.connection.on_lost(call)


def read_json(text: bytes | str) -> Any:  # noqa: ANN401  any JSON
    """Give what some JSON in UTF-8 says; raise ``Problem`` 400 for what is none, also for NaN and Infinity."""
    try:
        return json.loads(text.decode() if isinstance(text, bytes) else text, parse_constant=_refuse)
    except RecursionError:
        raise Problem(400, "Not usable JSON", "it is nested too deeply") from None
    except UnicodeDecodeError:
        raise Problem(400, "Not JSON", "the body is not UTF-8") from None
    except ValueError as error:
        raise Problem(400, "Not JSON", str(error)[:200]) from None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")
