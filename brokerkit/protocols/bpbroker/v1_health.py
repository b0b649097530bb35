"""Health checks by the modern API: what is checked of an entry, how it went, and heartbeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.protocols.bpbroker import v1_reading as reading
from brokerkit.registry import Conflict, RegistryError
from brokerkit.registry.access import READ, WRITE, may
from brokerkit.web import Answer, Problem, Route, json_answer

if TYPE_CHECKING:
    from brokerkit.protocols.bpbroker.v1_asker import Asker
    from brokerkit.registry.health import Health
    from brokerkit.web import Asked

LISTED = 1000


class HealthRoutes:
    """The routes of ``/v1/health``."""

    def __init__(self, asker: Asker) -> None:
        """Serve the checks of the registry of that."""
        self._asker = asker

    def routes(self) -> list[Route]:
        """Give the routes."""
        one = "/v1/health/{name}"
        body = (
            'One of {"kind": "ttl", "ttl": 30}, {"kind": "tcp", "address": "HOST:PORT"}, {"kind": "http", "url": URL}.'
        )
        none = {403: "Not allowed.", 404: "There is no such check."}
        wrong = {409: "Its check does not wait for heartbeats."}
        return [
            Route("GET", "/v1/health", self._list, "List the checks and how they went.", (), {200: "The checks."}),
            Route("GET", one, self._get, "See how the check of an entry went.", (), {200: "The check.", **none}),
            Route("PUT", one, self._put, "Check an entry from now on.", (), {200: "The check.", **none}, body),
            Route("DELETE", one, self._delete, "Check an entry no more.", (), {204: "Done.", **none}),
            Route("POST", one + "/pass", self._pass, "Send a heartbeat.", (), {200: "Taken.", **none, **wrong}),
            Route("POST", one + "/fail", self._fail, "Say that it is not well.", (), {200: "Taken.", **none, **wrong}),
        ]

    @property
    def _health(self) -> Health:
        health = self._asker.registry.health
        if health is None:
            raise Problem(404, "Not Found", "there are no health checks here")
        return health

    async def _list(self, asked: Asked) -> Answer:
        health = self._health
        client = await self._asker.admit(asked)
        try:
            shown = []
            for name in health.names():
                if may(client, READ, name) and (one := health.shown(name)) is not None:
                    shown.append(one)
                if len(shown) >= LISTED:
                    break
        finally:
            client.leave()
        return json_answer({"checks": shown})

    async def _get(self, asked: Asked) -> Answer:
        name = asked.values["name"]
        await self._asker.allowed(asked, READ, name)
        return self._shown(name)

    def _shown(self, name: str) -> Answer:
        shown = self._health.shown(name)
        if shown is None:
            raise _no_check(name)
        return json_answer(shown)

    async def _put(self, asked: Asked) -> Answer:
        name = reading.writable(asked.values["name"])
        data = reading.an_object(asked.json())
        by = await self._asker.allowed(asked, WRITE, name)
        try:
            await self._health.put(name, data, by, asked.address)
        except Conflict:
            raise reading.absent(name) from None
        except RegistryError as error:
            raise reading.problem(error) from None
        return self._shown(name)

    async def _delete(self, asked: Asked) -> Answer:
        name = reading.writable(asked.values["name"])
        by = await self._asker.allowed(asked, WRITE, name)
        try:
            await self._health.remove(name, by, asked.address)
        except Conflict:
            raise _no_check(name) from None
        except RegistryError as error:
            raise reading.problem(error) from None
        return Answer(204)

    async def _pass(self, asked: Asked) -> Answer:
        return await self._report(asked, passing=True)

    async def _fail(self, asked: Asked) -> Answer:
        return await self._report(asked, passing=False)

    async def _report(self, asked: Asked, *, passing: bool) -> Answer:
        name = reading.writable(asked.values["name"])
        await self._asker.allowed(asked, WRITE, name)
        if not self._health.report(name, passing=passing):
            self._shown(name)  # 404 if it has none
            raise Problem(409, "Conflict", "its check does not wait for heartbeats")
        return self._shown(name)


def _no_check(name: str) -> Problem:
    return Problem(404, "Not Found", f"Entry '{name}' has no health check")
