"""The modern API: entries, what watches them, transactions, locks and health checks, as one table of routes.

It stands beside the original's on the same registry.  Everything is asked for with the same credentials, and decided by
the grants for ``registry.read`` and ``registry.write``.  A revision is the ``ETag`` of an entry; a write can be made to
depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.protocols.bpbroker import v1_reading as reading
from brokerkit.protocols.bpbroker.v1_asker import Asker
from brokerkit.protocols.bpbroker.v1_health import HealthRoutes
from brokerkit.protocols.bpbroker.v1_lock import Locks
from brokerkit.protocols.bpbroker.v1_txn import Transactions
from brokerkit.protocols.bpbroker.v1_watch import Watching
from brokerkit.registry import Conflict, Delete, Merge, Put, Renew
from brokerkit.registry.access import READ, WRITE, may
from brokerkit.registry.shown import shown_change, shown_entry
from brokerkit.registry.words import HIDDEN
from brokerkit.web import Answer, Parameter, Problem, Route, json_answer, openapi

if TYPE_CHECKING:
    from brokerkit.protocols.bpbroker.v1_asker import Admit
    from brokerkit.registry import Entry, Registry
    from brokerkit.web import Asked

PAGE, LARGEST_PAGE = 100, 1000  # entries in one answer
PAGE_BYTES = 1024 * 1024  # of data, after which a page ends
SCANNED = 20_000  # entries that are looked at for one page, whether they may be read or not
MERGE_PATCH = "application/merge-patch+json"
TITLE = "brokerkit registry"

_TTL = Parameter("ttl", "Seconds after which the entry ends unless it is renewed.", kind="number")
_BOUND = Parameter("bound", "Whether the entry ends with this connection.", kind="boolean")
_IF_MATCH = Parameter("If-Match", 'The revision that the entry has to have, as "17"; * for any.', "header")
_IF_NONE = Parameter("If-None-Match", "With *, the entry may not be there yet.", "header")
_READS = {401: "The credentials are not accepted.", 403: "Not allowed."}
_WRITES = {
    **_READS,
    400: "The name or the data cannot be kept.",
    412: "A condition does not hold.",
    503: "It cannot be written now; try again.",
    507: "The disk is full; nothing was written.",
}


class Api:
    """All of it.  ``stop`` ends what watches and waits."""

    def __init__(self, registry: Registry, admit: Admit, clock: Any) -> None:  # noqa: ANN401  any reactor
        """Serve that registry to whom ``admit`` lets in (see ``Asker``)."""
        self._registry = registry
        self._asker = Asker(registry, admit)
        self.watching = Watching(self._asker, clock)
        self.locks = Locks(self._asker, clock)
        self.transactions = Transactions(self._asker)
        self.health = HealthRoutes(self._asker)
        self._document = b""

    def stop(self) -> None:
        """End what goes on."""
        self.watching.stop()
        self.locks.stop()

    def routes(self) -> list[Route]:
        """Give the table, with the route of the document that describes it."""
        routes = [
            *self._entries(),
            *self.watching.routes(),
            *self.transactions.routes(),
            *self.locks.routes(),
            *self.health.routes(),
            Route("GET", "/healthz", self._healthz, "Say whether the registry can be written to.", (), {200: "Yes."}),
            Route("GET", "/v1/openapi.json", self._openapi),
        ]
        self._document = json_answer(openapi(routes, TITLE)).body
        return routes

    def _entries(self) -> list[Route]:
        one, found = "/v1/kv/{name}", {200: "The entry.", 404: "There is no such entry."}
        conditions = (_IF_MATCH, _IF_NONE)
        listing = (
            Parameter("prefix", "What the names begin with."),
            Parameter("after", "The name that the page comes behind; `next` of the page before."),
            Parameter("limit", f"Entries in a page, at most {LARGEST_PAGE}.", kind="integer"),
            Parameter("keys", "Whether to give names only.", kind="boolean"),
        )
        raw = Parameter("raw", "Whether to give the data alone.", kind="boolean")
        known = Parameter("If-None-Match", "Revisions that are known already.", "header")
        merge = Parameter("merge", "deep (RFC 7396) or shallow; otherwise the content type decides.")
        create = Parameter("create", "Whether to create an entry that is not there.", kind="boolean")
        return [
            Route(
                "GET", "/v1/kv", self._list, "List entries, in the order of names.", listing, {**_READS, 200: "A page."}
            ),
            Route(
                "GET", one, self._get, "Get an entry.", (raw, known), {**_READS, **found, 304: "It has that revision."}
            ),
            Route(
                "PUT",
                one,
                self._put,
                "Create or replace an entry.",
                (_TTL, _BOUND, *conditions),
                {**_WRITES, 200: "Replaced.", 201: "Created."},
                "The data: a JSON object.",
            ),
            Route(
                "PATCH",
                one,
                self._patch,
                "Merge members into an entry.",
                (merge, create, _TTL, _IF_MATCH),
                {**_WRITES, **found},
                f"A JSON object; as {MERGE_PATCH} it is merged member by member, and null takes a member away.",
            ),
            Route(
                "DELETE",
                one,
                self._delete,
                "Delete an entry.",
                (_IF_MATCH,),
                {**_WRITES, 204: "Deleted.", 404: found[404]},
            ),
            Route(
                "POST",
                "/v1/kv/{name}/renew",
                self._renew,
                "Begin an entry's time anew.",
                (_TTL, _IF_MATCH),
                {**_WRITES, 200: "Renewed.", 404: "It has ended: register again."},
            ),
            Route(
                "GET",
                "/v1/kv/{name}/history",
                self._history,
                "Give the changes of an entry that are known, oldest first.",
                (),
                {**_READS, 200: "The changes."},
            ),
        ]

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _get(self, asked: Asked) -> Answer:
        name = asked.values["name"]
        await self._asker.allowed(asked, READ, name)
        entry = self._visible(name)
        if reading.is_known(asked, entry):
            return Answer(304, headers=reading.tag(entry))
        shown = entry.data if reading.switch(asked, "raw") else shown_entry(entry)
        return json_answer(shown, headers=reading.tag(entry))

    def _visible(self, name: str) -> Entry:
        entry = None if name.startswith(HIDDEN) else self._registry.get(name)
        if entry is None:
            raise reading.absent(name)
        return entry

    async def _list(self, asked: Asked) -> Answer:
        prefix, after = asked.query.get("prefix", ""), asked.query.get("after", "")
        limit = reading.whole(asked, "limit", PAGE, 1, LARGEST_PAGE) or PAGE
        keys = reading.switch(asked, "keys")
        if prefix.startswith(HIDDEN):
            return json_answer({"names" if keys else "entries": [], "revision": self._registry.revision, "next": None})
        client = await self._asker.admit(asked)
        try:
            found, following = self._page(client, prefix, after, limit)
        finally:
            client.leave()
        page: dict[str, Any] = {"revision": self._registry.revision, "next": following}
        if keys:
            return json_answer({"names": [entry.name for entry in found], **page})
        return json_answer({"entries": [shown_entry(entry) for entry in found], **page})

    def _page(self, client: Any, prefix: str, after: str, limit: int) -> tuple[list[Entry], str | None]:  # noqa: ANN401  a Client
        """Give the entries of a page that may be read, and the name behind which the next one begins."""
        found: list[Entry] = []
        size, last = 0, after
        for looked, entry in enumerate(self._registry.scan(prefix, after)):
            if len(found) >= limit or size >= PAGE_BYTES or looked >= SCANNED:
                return found, last
            last = entry.name
            if may(client, READ, entry.name):
                found.append(entry)
                size += self._registry.size_of(entry.name)
        return found, None

    async def _history(self, asked: Asked) -> Answer:
        name = asked.values["name"]
        await self._asker.allowed(asked, READ, name)
        changes = () if name.startswith(HIDDEN) else self._registry.history(name)
        shown, size = [], 0
        for change in reversed(changes):
            shown.append(shown_change(change))
            size += len(str(change.entry.data))
            if size > PAGE_BYTES:
                break
        return json_answer({"changes": shown[::-1], "oldest": self._registry.oldest})

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _put(self, asked: Asked) -> Answer:
        name = reading.writable(asked.values["name"])
        data = reading.an_object(asked.json())
        ttl = reading.ttl(asked, self._registry.limits.longest)
        by = await self._asker.allowed(asked, WRITE, name)
        wanted = reading.condition(asked, self._registry.get(name))
        owner = self._asker.owner(asked) if reading.switch(asked, "bound") else None
        put = Put(name, data, wanted.revision, wanted.absent, ttl, owner, wanted.there)
        try:
            entry = _one(await self._asker.write([put], by, asked))
        except Conflict as conflict:
            raise reading.failed(conflict.entry) from None
        return json_answer(shown_entry(entry), 201 if entry.version == 1 else 200, reading.tag(entry))

    async def _patch(self, asked: Asked) -> Answer:
        name = reading.writable(asked.values["name"])
        data = reading.an_object(asked.json())
        ttl = reading.ttl(asked, self._registry.limits.longest)
        deep, there = _is_deep(asked), not reading.switch(asked, "create")
        by = await self._asker.allowed(asked, WRITE, name)
        wanted = reading.condition(asked, self._registry.get(name))
        merge = Merge(name, data, deep, wanted.revision, ttl, None, there or wanted.there)
        entry = await self._change(merge, by, asked)
        return json_answer(shown_entry(entry), 201 if entry.version == 1 else 200, reading.tag(entry))

    async def _renew(self, asked: Asked) -> Answer:
        name = reading.writable(asked.values["name"])
        ttl = reading.ttl(asked, self._registry.limits.longest)
        by = await self._asker.allowed(asked, WRITE, name)
        wanted = reading.condition(asked, self._registry.get(name))
        entry = await self._change(Renew(name, ttl, wanted.revision), by, asked)
        return json_answer(shown_entry(entry), headers=reading.tag(entry))

    async def _delete(self, asked: Asked) -> Answer:
        name = reading.writable(asked.values["name"])
        by = await self._asker.allowed(asked, WRITE, name)
        wanted = reading.condition(asked, self._registry.get(name))
        await self._change(Delete(name, wanted.revision, if_there=True), by, asked)
        return Answer(204)

    async def _change(self, operation: Merge | Renew | Delete, by: str, asked: Asked) -> Any:  # noqa: ANN401  an Entry, or None
        """Write to an entry that has to be there: without it 404, whatever the condition."""
        try:
            return (await self._asker.write([operation], by, asked))[0]
        except Conflict as conflict:
            if conflict.entry is None:
                raise reading.absent(operation.name) from None
            raise reading.failed(conflict.entry) from None

    # -- about it -----------------------------------------------------------------------------------------------------

    def _healthz(self, _: Asked) -> Answer:
        well = self._registry.is_writable
        return json_answer({"ok": well, "entries": len(self._registry)}, 200 if well else 503)

    def _openapi(self, _: Asked) -> Answer:
        return Answer(body=self._document)


def _one(results: Any) -> Entry:  # noqa: ANN401  what a write gave
    entry: Entry = results[0]
    return entry


def _is_deep(asked: Asked) -> bool:
    """Say how a patch is to be merged."""
    word = asked.query.get("merge", "")
    if word not in {"", "deep", "shallow"}:
        raise Problem(400, "Bad parameter", "merge: expected deep or shallow")
    kind = asked.header("content-type").partition(";")[0].strip().lower()
    return word == "deep" or (not word and kind == MERGE_PATCH)
