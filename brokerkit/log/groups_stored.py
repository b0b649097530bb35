"""How a group and its committed offsets are written into cells of the log, and read again.

One cell for who reads what, and one for each committed offset: a commit writes a few bytes, however large the group.
What cannot be read, because a later version wrote it, is left where it is and taken for not there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from brokerkit.log.groups_decide import Group
from brokerkit.log.groups_words import Commit, Holding, Member

if TYPE_CHECKING:
    from brokerkit.log.groups_words import Place

GROUP, OFFSET = "group", "group-offset"  # the spaces of cells
_PARTS = 4  # of an offset's key


def group_key(tenant: str, name: str) -> bytes:
    """Give the key of a group's cell."""
    return f"{tenant}\0{name}".encode()


def offset_key(tenant: str, name: str, place: Place) -> bytes:
    """Give the key of an offset's cell; the topic is last, since it may hold any byte."""
    return f"{tenant}\0{name}\0{place[1]}\0".encode() + place[0]


def read_group_key(key: bytes) -> tuple[str, str]:
    """Give tenant and name; raise ``ValueError``."""
    tenant, name = key.decode().split("\0")
    return tenant, name


def read_offset_key(key: bytes) -> tuple[str, str, Place]:
    """Give tenant, name of the group and place; raise ``ValueError``."""
    parts = key.split(b"\0", _PARTS - 1)
    tenant, name, number, topic = parts
    return tenant.decode(), name.decode(), (topic, int(number))


def write_commit(commit: Commit) -> bytes:
    """Give an offset's cell."""
    return json.dumps([commit.offset, commit.at, commit.metadata], separators=(",", ":")).encode()


def read_commit(cell: bytes) -> Commit:
    """Read an offset's cell; raise ``ValueError``."""
    try:
        offset, at, metadata = json.loads(cell)
        return Commit(int(offset), str(metadata), int(at))
    except TypeError as error:
        raise ValueError(str(error)) from None


def write_group(group: Group) -> bytes:
    """Give a group's cell.  Leases are not in it: after a restart each begins anew, since nobody could renew it."""
    return json.dumps(
        {
            "generation": group.generation,
            "owner": group.owner,
            "members": [
                {
                    "id": one.id,
                    "topics": [_text(topic) for topic in one.topics],
                    "patterns": [_text(pattern) for pattern in one.patterns],
                    "session_timeout": one.session_timeout,
                    "start": one.start,
                    "owner": one.owner,
                    "client_id": one.client_id,
                    "client_host": one.client_host,
                    "joined": one.joined,
                }
                for one in group.members.values()
            ],
            "held": [
                [_text(place[0]), place[1], one.member, one.since, one.goes_to] for place, one in group.held.items()
            ],
        },
        separators=(",", ":"),
    ).encode()


def read_group(tenant: str, name: str, cell: bytes, now: float) -> Group:
    """Read a group's cell, with leases that begin ``now``; raise ``ValueError``."""
    try:
        told = json.loads(cell)
        members = [_member(one, now) for one in told["members"]]
        held = {
            (_bytes(topic), int(number)): Holding(str(member), int(since), str(goes_to))
            for topic, number, member, since, goes_to in told["held"]
        }
        owner = str(told.get("owner", ""))
        return Group(name, tenant, int(told["generation"]), {one.id: one for one in members}, held, owner)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None


def _member(told: dict[str, Any], now: float) -> Member:
    session = float(told["session_timeout"])
    return Member(
        str(told["id"]),
        tuple(_bytes(topic) for topic in told["topics"]),
        tuple(_bytes(pattern) for pattern in told["patterns"]),
        session,
        str(told["start"]),
        str(told["owner"]),
        str(told["client_id"]),
        str(told["client_host"]),
        float(told["joined"]),
        now + session,
    )


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")
