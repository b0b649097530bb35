"""What a listener says of itself: whether it is well, and all that can be asked of it, for programs and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit import __version__
from brokerkit.protocols.kafka_rest.v1_documents import HEALTH, SCHEMAS
from brokerkit.protocols.kafka_rest.v1_page import page
from brokerkit.web import Answer, Route, json_answer, openapi

if TYPE_CHECKING:
    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.web import Asked

TITLE = "brokerkit: kept topics"
TEXT = (
    "Everything that is published to a kept topic, by whatever protocol, can be read here by offset. "
    "Errors are problem details (RFC 9457), except where an older API has its own."
)
WAYS: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of POST /login, or one that is known."},
    "basic": {"type": "http", "scheme": "basic"},
}
_HEAD = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


class About:
    """The routes about the listener."""

    def __init__(self, here: Here) -> None:
        """Speak of that one."""
        self._here = here
        self._document: dict[str, Any] | None = None

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        ready = {200: "Yes.", 503: "No; the answer says what is missing."}
        return (
            Route("GET", "/healthz", self._healthz, "Say whether the process is alive.", (), {200: "Yes."}),
            Route(
                "GET",
                "/readyz",
                self._readyz,
                "Say whether records can be kept and read now.",
                (),
                ready,
                replies={200: HEALTH, 503: HEALTH},
            ),
            Route("GET", "/v1/openapi.json", self._openapi),
            Route("GET", "/v1/docs", self._docs),
        )

    def _healthz(self, _: Asked) -> Answer:
        return json_answer({"ok": True}, headers={"cache-control": "no-store"})

    def _readyz(self, _: Asked) -> Answer:
        log, keeping = self._here.log, self._here.keeping
        found = {
            "log": bool(log.running),
            "writable": bool(log.writing.is_writable),
            "keeping": bool(keeping.running),
        }
        well = all(found.values())
        return json_answer({"ok": well, **found}, 200 if well else 503, {"cache-control": "no-store"})

    def _whole(self) -> dict[str, Any]:
        """Give the document of all that this listener answers; made once, since the table stays as it is."""
        if self._document is None:
            routes = self._here.service.site.routes.all
            self._document = openapi(routes, TITLE, __version__, TEXT, security=WAYS, schemas=SCHEMAS)
        return self._document

    async def _openapi(self, asked: Asked) -> Answer:
        return await self._here.packed(asked, json_answer(self._whole(), headers={"cache-control": "no-cache"}))

    async def _docs(self, asked: Asked) -> Answer:
        return await self._here.packed(asked, Answer(200, page(self._whole()).encode(), _HEAD))
