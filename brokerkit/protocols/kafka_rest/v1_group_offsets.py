"""Offsets of consumer groups by the modern API: what is committed, committing, and moving one's own member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.grants import SUBSCRIBE
from brokerkit.log.groups_checks import see_metadata
from brokerkit.log.groups_words import Commit
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest import v1_place as places
from brokerkit.protocols.kafka_rest.v1_asked import bad
from brokerkit.protocols.kafka_rest.v1_group_shown import seen_group, shown_share
from brokerkit.protocols.kafka_rest.who import SHOW_GROUP, USE_GROUP, owner
from brokerkit.web import Answer, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.client import Client
    from brokerkit.log.groups_words import Place
    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.web import Asked

MOST = 10_000  # in one request
_OFFSET = ("topic", "partition", "offset", "metadata")


class Offsets:
    """The calls about offsets."""

    def __init__(self, here: Here) -> None:
        """Serve the groups there."""
        self._here = here

    async def show(self, asked: Asked) -> Answer:
        """Give what is committed, with the lag."""
        here = self._here
        name, client = await here.group(asked, SHOW_GROUP)
        group = seen_group(here, client, here.groups.describe(name, client.user.tenant))
        return await here.packed(asked, json_answer({"offsets": [shown_share(here, one) for one in group.shares]}))

    async def seek(self, asked: Asked) -> Answer:
        """Have a member go on from other offsets."""
        here = self._here
        name, client = await here.group(asked, USE_GROUP)
        given = asking.object_of(here.body(asked), "offsets")
        tenant = client.user.tenant
        found: dict[Place, int] = {}
        for place, one in self._places(given, client):
            span = here.log.span(place[0], place[1], tenant=tenant)
            found[place] = places.place_of(str(one.get("offset", "")), span)
        await here.groups.seek(name, asked.values["member"], found, tenant=tenant, owner=owner(client))
        return Answer(204)

    async def commit(self, asked: Asked) -> Answer:
        """Commit offsets, all or none."""
        name, client = await self._here.group(asked, USE_GROUP)
        given = asking.object_of(self._here.body(asked), "member", "generation", "offsets")
        await self.committed(client, name, given)
        return Answer(204)

    async def commit_with(self, client: Client, given: object, through: Callable[[Any], Any]) -> Any:  # noqa: ANN401  what `through` gives
        """Commit what some JSON says, which names the group, together with what ``through`` writes."""
        said = asking.only(asking.an_object(given, "commit"), "commit", "group", "member", "generation", "offsets")
        name = asking.text_of(said, "group")
        self._here.need_group(client, USE_GROUP, name)
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
        return await self._here.groups.commit(
            name,
            offsets,
            member=asking.text_of(given, "member"),
            generation=generation,
            tenant=client.user.tenant,
            owner=owner(client),
            through=through,
        )

    def _places(self, given: dict[str, Any], client: Client) -> list[tuple[Place, dict[str, Any]]]:
        """Give the partitions that a list of offsets names, each once; raise ``Problem``."""
        offsets = given.get("offsets")
        if not isinstance(offsets, list) or not 0 < len(offsets) <= MOST:
            raise bad(f"offsets: expected a list of 1 to {MOST}")
        found: list[tuple[Place, dict[str, Any]]] = []
        for one in offsets:
            offset = asking.only(asking.an_object(one, "an offset"), "offsets", *_OFFSET)
            topic = self._here.service.topic(asking.text_of(offset, "topic"))
            self._here.who.need(client, SUBSCRIBE, topic)
            found.append(((topic, asking.whole_of(offset, "partition", None, 0, asking.PARTITIONS)), offset))
        if len({place for place, _ in found}) != len(found):
            raise bad("offsets: a partition is there twice")
        return found
