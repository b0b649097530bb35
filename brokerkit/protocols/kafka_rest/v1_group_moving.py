"""Moving a whole consumer group to other offsets, and forgetting one: it has to be one's own, or to be allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.log.groups_words import LAST
from brokerkit.log.words import UnknownPartition, UnknownTopic
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest import v1_place as places
from brokerkit.protocols.kafka_rest.v1_asked import bad
from brokerkit.protocols.kafka_rest.v1_group_shown import shown_place
from brokerkit.protocols.kafka_rest.who import MOVE_GROUP, owner
from brokerkit.web import Answer, json_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.client import Client
    from brokerkit.log.groups_words import Commit, Place
    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.web import Asked


class Moving:
    """The calls that move a group, or forget it."""

    def __init__(self, here: Here) -> None:
        """Serve the groups there."""
        self._here = here

    async def reset(self, asked: Asked) -> Answer:
        """Move a group, or show where it would be moved to."""
        here = self._here
        name, client = await here.group(asked, MOVE_GROUP)
        known = ("to", "at", "shift", "topics", "partitions", "force", "dry_run")
        given = asking.object_of(here.body(asked), *known)
        chosen = self._chosen(client, name, given)
        tenant = client.user.tenant
        before = dict(here.groups.commits(name, tenant)) if name in here.groups.names(tenant) else {}
        after = {place: await self._aim(given, place, before, tenant) for place in chosen}
        if not asking.switch_of(given, "dry_run"):
            here.need_group(client, MOVE_GROUP, name)  # somebody may have made it meanwhile
            force = asking.switch_of(given, "force")
            await here.groups.reset(name, after, tenant=tenant, owner=owner(client), force=force)
        moved = [
            {**shown_place(here, place), "from": before[place].offset if place in before else None, "to": offset}
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
        for place in self._here.groups.commits(name, tenant):
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

    async def delete(self, asked: Asked) -> Answer:
        """Forget a group that has no members."""
        name, client = await self._here.group(asked, MOVE_GROUP)
        await self._here.groups.delete(name, tenant=client.user.tenant)
        return Answer(204)
