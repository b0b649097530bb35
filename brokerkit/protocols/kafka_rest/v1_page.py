"""The OpenAPI document as a page to read: plain HTML, made here, without a script or anything from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 2.5rem 0 0; font-size: 1rem; border-top: 1px solid #8886; padding-top: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow: auto; padding: .5rem; background: #8882; }
table { border-collapse: collapse; } td { padding: .1rem .8rem .1rem 0; vertical-align: top; }
b { display: inline-block; min-width: 4rem; }
"""


def page(document: Mapping[str, Any]) -> str:
    """Give the page of an OpenAPI document."""
    info = document["info"]
    title = escape(info["title"])
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>',
        f"<h1>{title} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>",
        '<p>For programs: <a href="openapi.json">openapi.json</a></p>',
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(method.upper(), path, operation)
    schemas = document["components"]["schemas"]
    parts.append("<h1>What goes over the wire</h1>")
    for name, schema in schemas.items():
        parts.append(f'<h2 id="{escape(name)}">{escape(name)}</h2>{_json(schema)}')
    return "\n".join([*parts, "</html>"])


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<h2 id="{escape(operation["operationId"])}"><b>{method}</b> <code>{escape(path)}</code></h2>'
    yield f"<p>{escape(operation['summary'])}</p>"
    parameters = operation.get("parameters", ())
    if parameters:
        yield "<table>"
        for one in parameters:
            text = escape(one.get("description", ""))
            kind = escape(f"{one['in']}, {one['schema'].get('type', '')}")
            yield f"<tr><td><code>{escape(one['name'])}</code><td>{kind}<td>{text}"
        yield "</table>"
    body = operation.get("requestBody")
    if body:
        yield f"<p>Body: {escape(body['description'])}</p>"
        for kind, content in body["content"].items():
            yield f"<p><code>{escape(kind)}</code></p>{_json(content['schema'])}"
    yield "<table>"
    for status, answer in operation["responses"].items():
        kinds = ", ".join(answer.get("content", {}))
        yield f"<tr><td>{escape(status)}<td>{escape(answer['description'])}<td><code>{escape(kinds)}</code>"
    yield "</table>"


def _json(schema: object) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=1))}</pre>"
