"""Consumer groups as JSON: a group, its members, what is committed, and what a poll has given.

Who looks is told of no topic that it may not see.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from brokerkit.protocols.kafka_rest.v1_shown import shown_records

if TYPE_CHECKING:
    from brokerkit.client import Client
    from brokerkit.log.groups_words import Described, Membership, Place, Polled, Share
    from brokerkit.protocols.kafka_rest.v1_here import Here


def shown_group(here: Here, client: Client, group: Described) -> dict[str, Any]:
    """Give a group."""
    group = seen_group(here, client, group)
    return {
        "group": group.name,
        "owner": group.owner,
        "state": group.state,
        "generation": group.generation,
        "lag": group.lag,
        "members": [shown_member(here, one) for one in group.members],
        "offsets": [shown_share(here, one) for one in group.shares],
    }


def seen_group(here: Here, client: Client, group: Described) -> Described:
    """Give a group as the client may see it."""
    return group.only(lambda topic: here.who.may_see(client, topic))


def shown_share(here: Here, share: Share) -> dict[str, Any]:
    """Give one partition of a group."""
    commit = share.commit
    return {
        **shown_place(here, share.place),
        "offset": None if commit is None else commit.offset,
        "metadata": "" if commit is None else commit.metadata,
        "committed": None if commit is None else commit.at,
        "first": share.first,
        "next": share.next,
        "lag": share.lag,
        "member": share.member or None,
    }


def shown_member(here: Here, membership: Membership) -> dict[str, Any]:
    """Give a member."""
    member = membership.member
    return {
        "group": membership.group,
        "member": member.id,
        "generation": membership.generation,
        "expires": int(member.expires * 1000),
        "session_timeout": member.session_timeout,
        "topics": [here.shown(topic) for topic in member.topics],
        "patterns": [here.shown(pattern) for pattern in member.patterns],
        "start": member.start,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "assigned": [shown_place(here, place) for place in membership.assigned],
        "awaited": [shown_place(here, place) for place in membership.awaited],
    }


def shown_place(here: Here, place: Place) -> dict[str, Any]:
    """Give topic and partition."""
    return {"topic": here.shown(place[0]), "partition": place[1]}


def shown_poll(here: Here, polled: Polled, encoding: str) -> str:
    """Give what a poll has given."""
    texts: list[str] = []
    for (topic, partition), records in polled.records:
        texts += shown_records(records, here.shown(topic), partition, encoding)
    beside = {
        **shown_member(here, polled.membership),
        "number": polled.number,
        "offsets": [{**shown_place(here, place), "offset": offset} for place, offset in polled.positions.items()],
        "skipped": [{**shown_place(here, one.place), "from": one.begin, "to": one.end} for one in polled.skipped],
    }
    return f'{{"records":[{",".join(texts)}],{json.dumps(beside)[1:]}\n'
