"""The table of routes as an OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brokerkit.web.route import Parameter, Route

PROBLEMS_FROM = 400


def openapi(
    routes: Iterable[Route],
    title: str,
    version: str = "1",
    description: str = "",
    *,
    security: Mapping[str, Any] | None = None,
    schemas: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give an OpenAPI 3.1 document of those routes that have a summary.

    ``security`` are the ways to show who one is, by name (one of them, or none, is shown); ``schemas`` are those that
    routes name by ``$ref``.
    """
    ways = dict(_WAYS if security is None else security)
    paths: dict[str, Any] = {}
    for route in routes:
        if route.summary:
            paths.setdefault(route.template, {})[route.method.lower()] = _operation(route)
    info = {"title": title, "version": version, **({"description": description} if description else {})}
    components = {"securitySchemes": ways, "schemas": {**_SCHEMAS, **(schemas or {})}}
    shown: list[dict[str, Any]] = [*({name: []} for name in ways), {}]
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components, "security": shown}


_WAYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-Access-Key"},
}
_SCHEMAS = {
    "Problem": {
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
    }
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
        content = route.request or {"application/json": {"type": "object"}}
        found["requestBody"] = {"description": route.body, "content": _content(content)}
        if route.needs_body:
            found["requestBody"]["required"] = True
    answers = route.answers or {200: "Done."}
    found["responses"] = {
        str(status): _answer(status, text, route.replies.get(status)) for status, text in sorted(answers.items())
    }
    return found


def _content(schemas: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind, schema in schemas.items()}


def _identifier(route: Route) -> str:
    words = [part.strip("{}").replace(".", "_") for part in route.template.split("/") if part]
    return "_".join([route.method.lower(), *words])


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.where,
        "description": one.text,
        "required": one.required or one.where == "path",
        "schema": {"type": one.kind, **one.schema},
    }


def _answer(status: int, text: str, schemas: Mapping[str, Any] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": text}
    if schemas is not None:
        answer["content"] = _content(schemas)
    elif status >= PROBLEMS_FROM:
        schema = {"$ref": "#/components/schemas/Problem"}
        answer["content"] = {"application/problem+json": {"schema": schema}}
    return answer
