"""Consumer groups as KastleX says them: what its documentation and its code say, both.

Version 1 has ``partitions`` and ``members`` on top, as documented, and ``offsets``, ``status`` and ``maxlag``, as the
code gave them; version 2 is Kafka's own description with what is committed.  A group that nobody knows is inactive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brokerkit.errors import ConfigError
from brokerkit.log.groups_words import UnknownGroup
from brokerkit.web import json_answer

if TYPE_CHECKING:
    from brokerkit.client import Client
    from brokerkit.log.groups_words import Described, Membership, Share
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Answer, Asked

KIND, PROTOCOL, VERSION = "consumer", "range", 0
STATES = {"empty": "Empty", "stable": "Stable", "moving": "PreparingRebalance"}


class Grouping:
    """GET of consumer groups."""

    def __init__(self, service: KafkaRest) -> None:
        """Show those of that listener's broker; raise ``ConfigError`` for an expression that is none."""
        self._service = service
        self._hidden = _expression(service)

    def groups(self, asked: Asked, client: Client) -> Answer:  # noqa: ARG002
        """Give the names of all."""
        service = self._service
        service.who.need(client, "list_groups")
        return json_answer([name for name in self.names(client.user.tenant) if self._may_see(client, name)])

    def names(self, tenant: str) -> list[str]:
        """Give the names of all groups that are shown."""
        return [name for name in self._service.groups.names(tenant) if not self._is_hidden(name)]

    def v1(self, asked: Asked, client: Client) -> Answer:
        """Give one, in both ways of version 1."""
        found = self._find(asked, client)
        name = asked.values["group"]
        if found is None:
            return json_answer(self._first(name, None))
        return json_answer(self._first(name, found))

    def v2(self, asked: Asked, client: Client) -> Answer:
        """Give one, as Kafka describes it."""
        found = self._find(asked, client)
        name = asked.values["group"]
        return json_answer(self._second(name, found))

    def _find(self, asked: Asked, client: Client) -> Described | None:
        """Give a group, with no topics but those that the client may see; ``None`` if there is none."""
        name, who = asked.values["group"], self._service.who
        who.need(client, "show_group", name.encode())
        try:
            found = None if self._is_hidden(name) else self._service.groups.describe(name, client.user.tenant)
        except UnknownGroup:
            return None
        return found and found.only(lambda topic: who.may_see(client, topic))

    def _is_hidden(self, name: str) -> bool:
        return self._hidden is not None and self._hidden.search(name) is not None

    def _may_see(self, client: Client, name: str) -> bool:
        grants = client.grants
        return grants.permits("list_groups", b"*") or self._service.who.may(client, "show_group", name.encode())

    # -- version 1 ----------------------------------------------------------------------------------------------------

    def _first(self, name: str, group: Described | None) -> dict[str, Any]:
        partitions = [] if group is None else self._partitions(group)
        members = [] if group is None else [self._member(one) for one in group.members]
        state: dict[str, Any] = {
            "generation_id": None if group is None else group.generation,
            "protocol": PROTOCOL if members else "",
            "leader": members[0]["member_id"] if members else "",
        }
        status: Any = "inactive"
        if members:
            status = {"version": VERSION, "protocol_type": KIND, **state, "members": members}
        lags = [one["lagging"] for one in partitions]
        return {
            "group_id": name,
            **state,
            "partitions": partitions,
            "members": members,
            "offsets": partitions,
            "status": status,
            "maxlag": max(lags, default=-1),
        }

    def _partitions(self, group: Described) -> list[dict[str, Any]]:
        return [found for share in group.shares if (found := self._partition(share)) is not None]

    def _partition(self, share: Share) -> dict[str, Any] | None:
        topic = self._service.shown(share.place[0])
        if share.commit is None or topic is None:
            return None
        metadata, encoding = share.commit.metadata, "text"
        return {
            "topic": topic,
            "partition": share.place[1],
            "offset": share.commit.offset,
            "high_wm_offset": share.next,
            "lagging": share.lag,
            "metadata": metadata,
            "metadata_encoding": encoding,
            "commit_time": share.commit.at or None,
            "expire_time": None,  # what is committed stays
            "version": 1,
        }

    def _member(self, one: Membership) -> dict[str, Any]:
        by_topic = self._by_topic(one)
        timeout = round(one.member.session_timeout * 1000)
        return {
            "member_id": one.member.id,
            "client_id": one.member.client_id,
            "client_host": _host(one),
            "session_timeout": timeout,
            "rebalance_timeout": timeout,
            "subscription": {"version": VERSION, "topics": self._topics(one), **_NO_DATA},
            "assignment": {"version": VERSION, "topic_partitions": by_topic, **_NO_DATA},
        }

    def _topics(self, one: Membership) -> list[str]:
        names = (self._service.shown(topic) for topic in (*one.member.topics, *one.member.patterns))
        return [name for name in names if name is not None]

    def _by_topic(self, one: Membership) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for topic, partition in sorted(one.assigned):
            name = self._service.shown(topic)
            if name is not None:
                found.setdefault(name, []).append(partition)
        return found

    # -- version 2 ----------------------------------------------------------------------------------------------------

    def _second(self, name: str, group: Described | None) -> dict[str, Any]:
        members = () if group is None else group.members
        return {
            "error_code": "no_error",
            "group_id": name,
            "state": "Dead" if group is None else STATES.get(group.state, group.state),
            "protocol_type": KIND if group is not None else "",
            "protocol": PROTOCOL if members else "",
            "members": [self._described(one) for one in members],
            "committed_offsets": [] if group is None else self._committed(group),
        }

    def _described(self, one: Membership) -> dict[str, Any]:
        assigned = [{"topic": name, "partitions": numbers} for name, numbers in self._by_topic(one).items()]
        return {
            "member_id": one.member.id,
            "client_id": one.member.client_id,
            "client_host": _host(one),
            "member_metadata": {"version": VERSION, "topics": self._topics(one), **_NO_DATA},
            "member_assignment": {"version": VERSION, "topic_partitions": assigned, **_NO_DATA},
        }

    def _committed(self, group: Described) -> list[dict[str, Any]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for one in self._partitions(group):
            found.setdefault(one["topic"], []).append(
                {
                    "partition": one["partition"],
                    "offset": one["offset"],
                    "metadata": one["metadata"],
                    "metadata_encoding": one["metadata_encoding"],
                    "error_code": "no_error",
                    "lag": one["lagging"],
                }
            )
        return [{"topic": topic, "partition_responses": responses} for topic, responses in found.items()]


_NO_DATA = {"user_data": "", "user_data_encoding": "text"}


def _host(one: Membership) -> str:
    """Give where a member comes from, with the slash that Kafka puts before it."""
    return f"/{one.member.client_host}"


def _expression(service: KafkaRest) -> re.Pattern[str] | None:
    text = service.settings.exclude_groups
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise ConfigError(service.protocol, "exclude_groups", text, "a regular expression", str(error)) from None
