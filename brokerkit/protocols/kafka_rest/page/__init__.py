"""The page at ``/``: topics, messages as they come, and groups, with nothing to build and nothing from elsewhere.

It is plain files, read once; all that it shows it asks of ``/v1`` with the rights of who looks.  The policy lets it run
its own scripts only, and with trusted types no text of a message can become a part of the page.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from brokerkit.web import Answer, Problem, Route

if TYPE_CHECKING:
    from brokerkit.web import Asked

INDEX = "index.html"
KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


class Page:
    """The files of the page, each with the tag that says which one it is."""

    def __init__(self) -> None:
        """Read them."""
        self._answers: dict[str, Answer] = {}
        for file in files(__package__).joinpath("files").iterdir():
            kind = KINDS.get(file.name.rpartition(".")[2])
            if kind is not None:
                content = file.read_bytes()
                tag = f'"{sha256(content).hexdigest()[:16]}"'
                self._answers[file.name] = Answer(200, content, {**HEADERS, "content-type": kind, "etag": tag})

    def index(self, asked: Asked) -> Answer:
        """Give the page itself; a client of Confluent's API that looks whether somebody is there gets what it knows."""
        accept = asked.header("accept")
        if "vnd.kafka" in accept and "html" not in accept:
            return Answer(200, b"{}\n", {"content-type": "application/vnd.kafka.v2+json"})
        return self._give(asked, INDEX)

    def file(self, asked: Asked) -> Answer:
        """Give one of its files; raise ``Problem`` 404."""
        return self._give(asked, asked.values["file"])

    def _give(self, asked: Asked, name: str) -> Answer:
        answer = self._answers.get(name)
        if answer is None:
            raise Problem(404, "Not Found", "the page has no such file")
        if answer.headers["etag"] in asked.header("if-none-match"):
            return Answer(304, b"", {**HEADERS, "etag": answer.headers["etag"]})
        return answer


def routes(service: Any) -> tuple[Route, ...]:  # noqa: ANN401, ARG001  every part gives its routes so
    """Give the routes of the page; they are no part of the API, so the document of that does not name them."""
    page = Page()
    return (Route("GET", "/", page.index), Route("GET", "/page/{file}", page.file))
