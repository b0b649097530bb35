"""Consumer groups by the modern API: members with leases, records for whoever polls, offsets that are committed.

Nothing of it hangs on a connection or on this process: a member's id, its group and the generation it knows are all
that a request needs.  A member is its user's own.  To use a group is the action ``commit_group``; what is read in it
needs the right to subscribe, each time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.grants import SUBSCRIBE
from brokerkit.log.groups import see_metadata
from brokerkit.log.groups_words import FIRST, LAST, USUAL_SESSION, Commit, Joining
from brokerkit.log.words import UnknownPartition, UnknownTopic
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest import v1_documents as documents
from brokerkit.protocols.kafka_rest import v1_place as places
from brokerkit.protocols.kafka_rest.v1_asked import bad
from brokerkit.protocols.kafka_rest.v1_problems import told
from brokerkit.protocols.kafka_rest.v1_shown import ENCODINGS, shown_records
from brokerkit.web import Answer, Parameter, Problem, Route, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerkit.client import Client
    from brokerkit.log.groups_words import Described, Membership, Place, Polled, Share
    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.web import Asked

MOST, LARGEST_MOST = 500, 10_000
MOST_BYTES, LARGEST_BYTES = 1024 * 1024, 64 * 1024 * 1024
OFFSETS = 10_000  # in one request
USE, RESET, SHOW, LIST = "commit_group", "reset_group", "show_group", "list_groups"
_READS = {401: "The credentials are not accepted.", 403: "Not allowed.", 404: "There is no such group or member."}
_WRITES = {
    **_READS,
    400: "What is sent is not usable; the detail says what and why.",
    404: "There is no such group, member, topic or partition; a member whose lease has expired can join again.",
    415: "The packing of the body is not known.",
    429: "More than this user may ask for; see Retry-After.",
    503: "It cannot be written now; see Retry-After.",
    507: "There is no room, or there are as many groups or members as there may be.",
}


class GroupRoutes:
    """The routes about groups."""

    def __init__(self, here: Here) -> None:
        """Serve the groups there."""
        self._here = here
        self._groups = here.groups

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        return tuple(attrs.evolve(one, parameters=(*_named(one), *one.parameters)) for one in self._routes())

    def _routes(self) -> tuple[Route, ...]:
        group = "/v1/groups/{group}"
        members, member = f"{group}/members", f"{group}/members/{{member}}"
        fenced = {409: "The partition has changed hands, or the group has members; nothing was committed."}
        polling = (
            Parameter(
                "max_records",
                f"At most so many records; {MOST} if not said.",
                kind="integer",
                schema={"minimum": 1, "maximum": LARGEST_MOST},
            ),
            Parameter(
                "max_bytes",
                "About so many bytes; at least one record is given.",
                kind="integer",
                schema={"minimum": 1, "maximum": LARGEST_BYTES},
            ),
            Parameter(
                "wait",
                "Seconds to wait for records, or for partitions.",
                kind="number",
                schema={"minimum": 0, "maximum": 3600},
            ),
            Parameter("commit", "Whether to commit first what was given before.", kind="boolean"),
            Parameter(
                "seen",
                "The number of the last answer that came; one before is given again.",
                kind="integer",
                schema={"minimum": 0, "maximum": asking.LARGEST},
            ),
            Parameter(
                "encoding", "Of values: auto (text, else base64), base64, or json.", schema={"enum": list(ENCODINGS)}
            ),
        )
        return (
            Route(
                "GET",
                "/v1/groups",
                told(self._list),
                "List groups.",
                (),
                {200: "Names.", 401: _READS[401], 403: _READS[403]},
                replies={200: documents.GROUPS},
            ),
            Route(
                "GET",
                group,
                told(self._describe),
                "Describe a group: members, offsets and lag.",
                (),
                {**_READS, 200: "The group."},
                replies={200: documents.GROUP},
            ),
            Route(
                "DELETE",
                group,
                told(self._delete),
                "Delete a group that has no members.",
                (),
                {**_WRITES, **fenced, 204: "Deleted."},
            ),
            Route(
                "POST",
                members,
                told(self._join),
                "Join a group, or change what a member reads.",
                (),
                {**_WRITES, 201: "A member."},
                "What to read.",
                request=documents.JOINING,
                needs_body=True,
                replies={201: documents.MEMBER},
            ),
            Route(
                "GET",
                member,
                told(self._member),
                "See a member and its lease.",
                (),
                {**_READS, 200: "The member."},
                replies={200: documents.MEMBER},
            ),
            Route("DELETE", member, told(self._leave), "Leave a group.", (), {**_WRITES, 204: "Left."}),
            Route(
                "POST",
                f"{member}/heartbeat",
                told(self._renew),
                "Renew a lease, as a poll does.",
                (),
                {**_WRITES, 200: "The member."},
                replies={200: documents.MEMBER},
            ),
            Route(
                "POST",
                f"{member}/poll",
                told(self._poll),
                "Get the next records of a member's partitions.",
                polling,
                {**_WRITES, 200: "Records, and what to commit for them."},
                replies={200: documents.POLLED},
            ),
            Route(
                "POST",
                f"{member}/seek",
                told(self._seek),
                "Have a member read from other offsets on.",
                (),
                {**_WRITES, **fenced, 204: "Done."},
                "Offsets: a number, or first, last, latest.",
                request=documents.SEEKING,
                needs_body=True,
            ),
            Route(
                "GET",
                f"{group}/offsets",
                told(self._offsets),
                "See what is committed, and the lag.",
                (),
                {**_READS, 200: "Offsets."},
                replies={200: documents.OFFSETS},
            ),
            Route(
                "POST",
                f"{group}/offsets",
                told(self._commit),
                "Commit offsets, all or none.",
                (),
                {**_WRITES, **fenced, 204: "Committed."},
                "Offsets of the next records to read.",
                request=documents.COMMITTING,
                needs_body=True,
            ),
            Route(
                "POST",
                f"{group}/reset",
                told(self._reset),
                "Move a group to other offsets.",
                (),
                {**_WRITES, **fenced, 200: "What was, or would be, moved."},
                "Where to.",
                request=documents.RESETTING,
                needs_body=True,
                replies={200: documents.MOVED},
            ),
        )

    # -- who ----------------------------------------------------------------------------------------------------------

    async def _may(self, asked: Asked, action: str) -> tuple[str, Client]:
        """Give the group's name, and who asks; raise ``Problem`` 403."""
        client = await self._here.client(asked)
        name = asked.values["group"]
        self._here.who.need(client, action, name.encode())
        return name, client

    # -- looking ------------------------------------------------------------------------------------------------------

    async def _list(self, asked: Asked) -> Answer:
        client = await self._here.client(asked)
        self._here.who.need(client, LIST)
        names = self._groups.names(client.user.tenant)
        seen = [name for name in names if self._here.who.may(client, SHOW, name.encode())]
        return json_answer({"groups": seen})

    async def _describe(self, asked: Asked) -> Answer:
        name, client = await self._may(asked, SHOW)
        return await self._here.packed(
            asked, json_answer(self._shown_group(self._groups.describe(name, client.user.tenant)))
        )

    def _shown_group(self, group: Described) -> dict[str, Any]:
        return {
            "group": group.name,
            "state": group.state,
            "generation": group.generation,
            "lag": group.lag,
            "members": [self.shown_member(one) for one in group.members],
            "offsets": [self._shown_share(one) for one in group.shares],
        }

    def _shown_share(self, share: Share) -> dict[str, Any]:
        commit = share.commit
        return {
            **self._place(share.place),
            "offset": None if commit is None else commit.offset,
            "metadata": "" if commit is None else commit.metadata,
            "committed": None if commit is None else commit.at,
            "first": share.first,
            "next": share.next,
            "lag": share.lag,
            "member": share.member or None,
        }

    def shown_member(self, membership: Membership) -> dict[str, Any]:
        """Give a member as JSON."""
        member = membership.member
        return {
            "group": membership.group,
            "member": member.id,
            "generation": membership.generation,
            "expires": int(member.expires * 1000),
            "session_timeout": member.session_timeout,
            "topics": [self._here.shown(topic) for topic in member.topics],
            "patterns": [self._here.shown(pattern) for pattern in member.patterns],
            "start": member.start,
            "client_id": member.client_id,
            "client_host": member.client_host,
            "assigned": [self._place(place) for place in membership.assigned],
            "awaited": [self._place(place) for place in membership.awaited],
        }

    def _place(self, place: Place) -> dict[str, Any]:
        return {"topic": self._here.shown(place[0]), "partition": place[1]}

    async def _offsets(self, asked: Asked) -> Answer:
        name, client = await self._may(asked, SHOW)
        shares = self._groups.describe(name, client.user.tenant).shares
        return await self._here.packed(asked, json_answer({"offsets": [self._shown_share(one) for one in shares]}))

    async def _member(self, asked: Asked) -> Answer:
        name, client = await self._may(asked, SHOW)
        membership = self._groups.member(name, asked.values["member"], tenant=client.user.tenant)
        return json_answer(self.shown_member(membership))

    # -- members ------------------------------------------------------------------------------------------------------

    async def _join(self, asked: Asked) -> Answer:
        name, client = await self._may(asked, USE)
        known = ("member", "topics", "patterns", "session_timeout", "start", "client_id")
        given = asking.object_of(self._here.body(asked), *known)
        return json_answer(self.shown_member(await self.join(client, name, given, asked.address)), 201)

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
        return await self._groups.join(name, joining, client.user.tenant)

    async def _leave(self, asked: Asked) -> Answer:
        name, client = await self._may(asked, USE)
        await self._groups.leave(name, asked.values["member"], tenant=client.user.tenant, owner=owner(client))
        return Answer(204)

    async def _renew(self, asked: Asked) -> Answer:
        name, client = await self._may(asked, USE)
        membership = self._groups.renew(name, asked.values["member"], tenant=client.user.tenant, owner=owner(client))
        return json_answer(self.shown_member(membership))

    async def _poll(self, asked: Asked) -> Answer:
        name, client = await self._may(asked, USE)
        encoding = asking.one_of(asked, "encoding", ENCODINGS)
        polled = await self._groups.poll(
            name,
            asked.values["member"],
            tenant=client.user.tenant,
            owner=owner(client),
            most=asking.whole(asked, "max_records", MOST, 1, LARGEST_MOST),
            most_bytes=asking.whole(asked, "max_bytes", MOST_BYTES, 1, LARGEST_BYTES),
            wait=min(asking.number(asked, "wait", 0.0, 0.0, 3600.0), self._here.settings.max_wait_seconds),
            commit=asking.switch(asked, "commit"),
            seen=asking.whole(asked, "seen", 0, 0, asking.LARGEST) if "seen" in asked.query else None,
            may=lambda topic: self._here.who.may(client, SUBSCRIBE, topic),
        )
        return await self._here.packed(asked, Answer(200, self.shown_poll(polled, encoding).encode()))

    def shown_poll(self, polled: Polled, encoding: str) -> str:
        """Give what a poll has given as JSON."""
        texts: list[str] = []
        for (topic, partition), records in polled.records:
            texts += shown_records(records, self._here.shown(topic), partition, encoding)
        beside = {
            **self.shown_member(polled.membership),
            "number": polled.number,
            "offsets": [{**self._place(place), "offset": offset} for place, offset in polled.positions.items()],
            "skipped": [{**self._place(one.place), "from": one.begin, "to": one.end} for one in polled.skipped],
        }
        return f'{{"records":[{",".join(texts)}],{json.dumps(beside)[1:]}\n'

    async def _seek(self, asked: Asked) -> Answer:
        name, client = await self._may(asked, USE)
        given = asking.object_of(self._here.body(asked), "offsets")
        tenant = client.user.tenant
        found: dict[Place, int] = {}
        for place, one in self._places(given, client):
            span = self._here.log.span(place[0], place[1], tenant=tenant)
            found[place] = places.place_of(str(one.get("offset", "")), span)
        member = asked.values["member"]
        await self._groups.seek(name, member, found, tenant=tenant, owner=owner(client))
        return Answer(204)

    def _places(self, given: dict[str, Any], client: Client) -> list[tuple[Place, dict[str, Any]]]:
        """Give the partitions that a list of offsets names, each once; raise ``Problem``."""
        offsets = given.get("offsets")
        if not isinstance(offsets, list) or not 0 < len(offsets) <= OFFSETS:
            raise bad(f"offsets: expected a list of 1 to {OFFSETS}")
        found: list[tuple[Place, dict[str, Any]]] = []
        for one in offsets:
            offset = asking.only(asking.an_object(one, "an offset"), "offsets", *_OFFSET)
            topic = self._here.service.topic(asking.text_of(offset, "topic"))
            self._here.who.need(client, SUBSCRIBE, topic)
            found.append(((topic, asking.whole_of(offset, "partition", None, 0, asking.PARTITIONS)), offset))
        if len({place for place, _ in found}) != len(found):
            raise bad("offsets: a partition is there twice")
        return found

    # -- offsets ------------------------------------------------------------------------------------------------------

    async def _commit(self, asked: Asked) -> Answer:
        name, client = await self._may(asked, USE)
        given = asking.object_of(self._here.body(asked), "member", "generation", "offsets")
        await self.committed(client, name, given)
        return Answer(204)

    async def commit_with(self, client: Client, given: object, through: Callable[[Any], Any]) -> Any:  # noqa: ANN401  what `through` gives
        """Commit what some JSON says, which names the group, together with what ``through`` writes."""
        said = asking.only(asking.an_object(given, "commit"), "commit", "group", "member", "generation", "offsets")
        name = asking.text_of(said, "group")
        self._here.who.need(client, USE, name.encode())
        return await self.committed(client, name, said, through)

    async def committed(
        self, client: Client, name: str, given: dict[str, Any], through: Callable[[Any], Any] | None = None
    ) -> Any:  # noqa: ANN401  what `through` gives
        """Commit what some JSON says, together with what ``through`` writes; raise as ``Groups.commit``."""
        offsets = {
            place: Commit(asking.whole_of(one, "offset", None), see_metadata(asking.text_of(one, "metadata")))
            for place, one in self._places(given, client)
        }
        generation = given.get("generation")
        if generation is not None:
            generation = asking.whole_of(given, "generation", None)
        return await self._groups.commit(
            name,
            offsets,
            member=asking.text_of(given, "member"),
            generation=generation,
            tenant=client.user.tenant,
            owner=owner(client),
            through=through,
        )

    async def _reset(self, asked: Asked) -> Answer:
        name, client = await self._may(asked, RESET)
        known = ("to", "at", "shift", "topics", "partitions", "force", "dry_run")
        given = asking.object_of(self._here.body(asked), *known)
        chosen = self._chosen(client, name, given)
        tenant = client.user.tenant
        before = dict(self._groups.commits(name, tenant)) if name in self._groups.names(tenant) else {}
        after = {place: await self._aim(given, place, before, tenant) for place in chosen}
        if not asking.switch_of(given, "dry_run"):
            await self._groups.reset(name, after, tenant=tenant, force=asking.switch_of(given, "force"))
        moved = [
            {**self._place(place), "from": before[place].offset if place in before else None, "to": offset}
            for place, offset in after.items()
        ]
        return json_answer({"offsets": moved, "dry_run": asking.switch_of(given, "dry_run")})

    def _chosen(self, client: Client, name: str, given: dict[str, Any]) -> list[Place]:
        """Give the partitions that a reset is about: of the topics that are named, or all that are committed."""
        here, tenant = self._here, client.user.tenant
        names = [here.service.topic(one) for one in asking.texts_of(given, "topics")]
        here.readable(client, names)
        if names:
            found = [(one, i) for one in names for i in range(here.log.topic(one, tenant=tenant).partitions)]
        else:
            found = self._committed_there(name, tenant)
            here.readable(client, {topic for topic, _ in found})
        numbers = given.get("partitions")
        if numbers is not None:
            if not isinstance(numbers, list) or not all(type(one) is int for one in numbers):
                raise bad("partitions: expected a list of whole numbers")
            found = [place for place in found if place[1] in numbers]
        if not found:
            raise bad("topics: name some, since nothing is committed that this could be about")
        return sorted(set(found))

    def _committed_there(self, name: str, tenant: str) -> list[Place]:
        """Give what is committed in partitions that are still there."""
        found = []
        for place in self._groups.commits(name, tenant):
            try:
                self._here.log.span(place[0], place[1], tenant=tenant)
            except (UnknownTopic, UnknownPartition):
                continue
            found.append(place)
        return found

    async def _aim(self, given: dict[str, Any], place: Place, before: Mapping[Place, Commit], tenant: str) -> int:
        """Give the offset that a partition is moved to; what lies beyond an end is that end."""
        if [name in given for name in ("to", "at", "shift")].count(True) != 1:
            raise bad("to, at or shift: expected one of them")
        log, (topic, partition) = self._here.log, place
        span = log.span(topic, partition, tenant=tenant)
        if "at" in given:
            return int(await log.at(topic, partition, asking.moment(str(given["at"]), "at"), tenant=tenant))
        if "shift" in given:
            least = -asking.LARGEST
            start = before[place].offset if place in before else span.next
            return int(min(max(start + asking.whole_of(given, "shift", None, least), span.first), span.next))
        to = given["to"]
        if to == LAST:
            return int(span.next)
        text = str(to) if isinstance(to, int) and not isinstance(to, bool) else to
        if not isinstance(text, str):
            raise bad("to: expected first, last, or an offset")
        if text.isascii() and text.isdigit() and len(text) <= asking.DIGITS:
            return int(min(max(int(text), span.first), span.next))
        return places.place_of(text, span)

    async def _delete(self, asked: Asked) -> Answer:
        name, client = await self._may(asked, RESET)
        await self._groups.delete(name, tenant=client.user.tenant)
        return Answer(204)


def _named(route: Route) -> list[Parameter]:
    """Give what the names in a path may be."""
    schema = {"minLength": 1, "maxLength": 249, "pattern": "^[^\\u0000-\\u001f]+$"}
    return [Parameter(name, f"The name of the {name}.", "path", schema=schema) for name in route.names]


_OFFSET = ("topic", "partition", "offset", "metadata")


def owner(client: Client) -> str:
    """Give the word for the user whose members are its own."""
    return client.user.name.decode(errors="backslashreplace")
