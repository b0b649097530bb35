"""What the OpenAPI document says of KastleX's routes beside what their table does: errors, empty answers, bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.web import Parameter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.web import Route

JSON, FORM, BYTES = "application/json", "application/x-www-form-urlencoded", "application/octet-stream"
ERRORS_FROM = 400
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "detail": {"type": "string"}},
}
_ERRORS = {
    400: "The request is not usable.",
    401: "Nobody is let in by what was shown.",
    403: "The user may not do that.",
    404: "There is no such thing.",
    406: "Accept names nothing that can be given.",
    409: "That cannot be done as things are.",
    413: "The body is too large.",
    429: "Too many logins have failed, or the user asks for more than it may.",
    503: "It cannot be done now.",
}
_NONE = "Done, and there is nothing to say."
_USUAL = {200: "What was asked for."}
_EMPTY = {"/admin/reload": {204: _NONE}, "/admin/tokens/{username}": {204: _NONE}}
_NAMED = {
    "partition": Parameter("partition", "A partition, from 0 on.", "path", schema={"pattern": "^[0-9]{1,9}$"}),
    "offset": Parameter(
        "offset",
        "A number, a negative one (from the end), earliest, latest or last.",
        "path",
        schema={"pattern": "^(-?[0-9]{1,18}|earliest|latest|last)$"},
    ),
}
_LOGIN: dict[str, Any] = {
    "type": "object",
    "required": ["username", "password"],
    "properties": {"username": {"type": "string"}, "password": {"type": "string"}},
}


def documented(routes: Iterable[Route]) -> list[Route]:
    """Give the same routes with all that the document says of them."""
    return [_documented(route) if route.summary else route for route in routes]


def _documented(route: Route) -> Route:
    usual = route.answers or _EMPTY.get(route.template, _USUAL)
    if "/urp" in route.template:
        usual = {**usual, 204: "None lacks a replica."}
    answers = {**_ERRORS, **usual}
    replies = {status: {JSON: _ERROR} for status in answers if status >= ERRORS_FROM}
    if route.template == "/login":
        body, request = "A name and its password.", {FORM: _LOGIN, JSON: _LOGIN}
        return attrs.evolve(route, answers=answers, replies=replies, body=body, request=request, needs_body=True)
    request = {BYTES: {}, JSON: {}} if route.body else {}
    named = [_NAMED[name] for name in route.names if name in _NAMED]
    parameters = (*named, *route.parameters)
    return attrs.evolve(route, answers=answers, replies=replies, request=request, parameters=parameters)
