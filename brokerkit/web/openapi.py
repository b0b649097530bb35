"""The table of routes as an OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.web.route import Parameter, Route

PROBLEMS_FROM = 400


def openapi(routes: Iterable[Route], title: str, version: str = "1", description: str = "") -> dict[str, Any]:
    """Give an OpenAPI 3.1 document of those routes that have a summary."""
    paths: dict[str, Any] = {}
    for route in routes:
        if route.summary:
            paths.setdefault(route.template, {})[route.method.lower()] = _operation(route)
    info = {"title": title, "version": version, **({"description": description} if description else {})}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": _COMPONENTS, "security": _SECURITY}


_SECURITY: list[dict[str, Any]] = [{"bearer": []}, {"key": []}, {}]
_COMPONENTS = {
    "securitySchemes": {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-Access-Key"},
    },
    "schemas": {
        "Problem": {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
            },
        }
    },
}


def _operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": route.summary, "operationId": _identifier(route)}
    parameters = [_parameter(one) for one in route.parameters]
    named = {one.name for one in route.parameters if one.where == "path"}
    parameters += [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in route.names
        if name not in named
    ]
    if parameters:
        found["parameters"] = parameters
    if route.body:
        found["requestBody"] = {
            "description": route.body,
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    answers = route.answers or {200: "Done."}
    found["responses"] = {str(status): _answer(status, text) for status, text in sorted(answers.items())}
    return found


def _identifier(route: Route) -> str:
    words = [part.strip("{}").replace(".", "_") for part in route.template.split("/") if part]
    return "_".join([route.method.lower(), *words])


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.where,
        "description": one.text,
        "required": one.required or one.where == "path",
        "schema": {"type": one.kind},
    }


def _answer(status: int, text: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": text}
    if status >= PROBLEMS_FROM:
        schema = {"$ref": "#/components/schemas/Problem"}
        answer["content"] = {"application/problem+json": {"schema": schema}}
    return answer
