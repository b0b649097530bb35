"""Members of consumer groups by the modern API: who joins, lives on, leaves, and is given records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.grants import SUBSCRIBE
from brokerkit.log.groups_words import FIRST, LAST, USUAL_SESSION, Joining
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest.v1_asked import bad
from brokerkit.protocols.kafka_rest.v1_group_shown import shown_group, shown_member, shown_poll
from brokerkit.protocols.kafka_rest.v1_shown import ENCODINGS
from brokerkit.protocols.kafka_rest.who import LIST_GROUPS, SHOW_GROUP, USE_GROUP, owner
from brokerkit.web import Answer, Problem, json_answer

if TYPE_CHECKING:
    from brokerkit.client import Client
    from brokerkit.log.groups_words import Membership
    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.web import Asked

MOST, LARGEST_MOST = 500, 10_000
MOST_BYTES, LARGEST_BYTES = 1024 * 1024, 64 * 1024 * 1024


class Members:
    """The calls about groups and their members."""

    def __init__(self, here: Here) -> None:
        """Serve the groups there."""
        self._here = here

    # -- looking ------------------------------------------------------------------------------------------------------

    async def list(self, asked: Asked) -> Answer:
        """Give the names of groups."""
        here, client = self._here, await self._here.client(asked)
        here.who.need(client, LIST_GROUPS)
        names = here.groups.names(client.user.tenant)
        return json_answer({"groups": [name for name in names if here.who.may(client, SHOW_GROUP, name.encode())]})

    async def describe(self, asked: Asked) -> Answer:
        """Give all of a group."""
        name, client = await self._here.group(asked, SHOW_GROUP)
        group = self._here.groups.describe(name, client.user.tenant)
        return await self._here.packed(asked, json_answer(shown_group(self._here, client, group)))

    async def member(self, asked: Asked) -> Answer:
        """Give one member."""
        name, client = await self._here.group(asked, SHOW_GROUP)
        membership = self._here.groups.member(name, asked.values["member"], tenant=client.user.tenant)
        seen = membership.only(lambda topic: self._here.who.may_see(client, topic))
        return json_answer(shown_member(self._here, seen))

    # -- coming and going ---------------------------------------------------------------------------------------------

    async def joined(self, asked: Asked) -> Answer:
        """Take a member in, and give it."""
        name, client = await self._here.group(asked, USE_GROUP)
        known = ("member", "topics", "patterns", "session_timeout", "start", "client_id")
        given = asking.object_of(self._here.body(asked), *known)
        membership = await self.join(client, name, given, asked.address)
        return json_answer(shown_member(self._here, membership), 201)

    async def join(self, client: Client, name: str, given: dict[str, Any], address: str) -> Membership:
        """Join a group as some JSON says; raise ``Problem`` and what ``Groups.join`` raises."""
        here = self._here
        topics = tuple(here.service.topic(one) for one in asking.texts_of(given, "topics"))
        patterns = tuple(here.service.topic(one) for one in asking.texts_of(given, "patterns", 100))
        if not topics and not patterns:
            raise bad("topics: expected some, or patterns")
        here.readable(client, topics)
        for pattern in patterns:
            if not client.grants.permits(SUBSCRIBE, pattern, literal=False):
                raise Problem(403, "Forbidden", f"reading all of {here.shown(pattern)} is not allowed")
        start = asking.text_of(given, "start", LAST)
        if start not in {FIRST, LAST}:
            raise bad(f"start: expected {FIRST} or {LAST}")
        joining = Joining(
            topics,
            patterns,
            asking.text_of(given, "member"),
            asking.number_of(given, "session_timeout", USUAL_SESSION, 1, 3600),
            start,
            owner(client),
            asking.text_of(given, "client_id")[:255],
            address,
        )
        return await here.groups.join(name, joining, client.user.tenant, here.reads(client))

    async def leave(self, asked: Asked) -> Answer:
        """Let a member go."""
        name, client = await self._here.group(asked, USE_GROUP)
        tenant = client.user.tenant
        await self._here.groups.leave(name, asked.values["member"], tenant=tenant, owner=owner(client))
        return Answer(204)

    async def renew(self, asked: Asked) -> Answer:
        """Begin a lease anew."""
        here = self._here
        name, client = await here.group(asked, USE_GROUP)
        tenant = client.user.tenant
        membership = here.groups.renew(name, asked.values["member"], tenant=tenant, owner=owner(client))
        return json_answer(shown_member(here, membership))

    # -- reading ------------------------------------------------------------------------------------------------------

    async def poll(self, asked: Asked) -> Answer:
        """Give a member its next records."""
        here = self._here
        name, client = await here.group(asked, USE_GROUP)
        encoding = asking.one_of(asked, "encoding", ENCODINGS)
        polled = await here.groups.poll(
            name,
            asked.values["member"],
            tenant=client.user.tenant,
            owner=owner(client),
            most=asking.whole(asked, "max_records", MOST, 1, LARGEST_MOST),
            most_bytes=asking.whole(asked, "max_bytes", MOST_BYTES, 1, LARGEST_BYTES),
            wait=min(asking.number(asked, "wait", 0.0, 0.0, 3600.0), here.settings.max_wait_seconds),
            commit=asking.switch(asked, "commit"),
            seen=asking.whole(asked, "seen", 0, 0, asking.LARGEST) if "seen" in asked.query else None,
            may=here.reads(client),
        )
        return await here.packed(asked, Answer(200, shown_poll(here, polled, encoding).encode()))
