"""What can be asked about consumer groups by the modern API: the table of it, as the document shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest import v1_documents as documents
from brokerkit.protocols.kafka_rest.v1_group_members import LARGEST_BYTES, LARGEST_MOST, MOST
from brokerkit.protocols.kafka_rest.v1_problems import told
from brokerkit.protocols.kafka_rest.v1_shown import ENCODINGS
from brokerkit.web import Parameter, Route

if TYPE_CHECKING:
    from brokerkit.protocols.kafka_rest.v1_group_members import Members
    from brokerkit.protocols.kafka_rest.v1_group_moving import Moving
    from brokerkit.protocols.kafka_rest.v1_group_offsets import Offsets

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
_POLLING = (
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
    Parameter("encoding", "Of values: auto (text, else base64), base64, or json.", schema={"enum": list(ENCODINGS)}),
)


def table(members: Members, offsets: Offsets, moving: Moving) -> tuple[Route, ...]:
    """Give the routes."""
    group = "/v1/groups/{group}"
    joining, member = f"{group}/members", f"{group}/members/{{member}}"
    fenced = {409: "The partition has changed hands, or the group has members; nothing was committed."}
    routes = (
        Route(
            "GET",
            "/v1/groups",
            told(members.list),
            "List groups.",
            (),
            {200: "Names.", 401: _READS[401], 403: _READS[403]},
            replies={200: documents.GROUPS},
        ),
        Route(
            "GET",
            group,
            told(members.describe),
            "Describe a group: members, offsets and lag.",
            (),
            {**_READS, 200: "The group."},
            replies={200: documents.GROUP},
        ),
        Route(
            "DELETE",
            group,
            told(moving.delete),
            "Delete a group that has no members.",
            (),
            {**_WRITES, **fenced, 204: "Deleted."},
        ),
        Route(
            "POST",
            joining,
            told(members.joined),
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
            told(members.member),
            "See a member and its lease.",
            (),
            {**_READS, 200: "The member."},
            replies={200: documents.MEMBER},
        ),
        Route("DELETE", member, told(members.leave), "Leave a group.", (), {**_WRITES, 204: "Left."}),
        Route(
            "POST",
            f"{member}/heartbeat",
            told(members.renew),
            "Renew a lease, as a poll does.",
            (),
            {**_WRITES, 200: "The member."},
            replies={200: documents.MEMBER},
        ),
        Route(
            "POST",
            f"{member}/poll",
            told(members.poll),
            "Get the next records of a member's partitions.",
            _POLLING,
            {**_WRITES, 200: "Records, and what to commit for them."},
            replies={200: documents.POLLED},
        ),
        Route(
            "POST",
            f"{member}/seek",
            told(offsets.seek),
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
            told(offsets.show),
            "See what is committed, and the lag.",
            (),
            {**_READS, 200: "Offsets."},
            replies={200: documents.OFFSETS},
        ),
        Route(
            "POST",
            f"{group}/offsets",
            told(offsets.commit),
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
            told(moving.reset),
            "Move a group to other offsets.",
            (),
            {**_WRITES, **fenced, 200: "What was, or would be, moved."},
            "Where to.",
            request=documents.RESETTING,
            needs_body=True,
            replies={200: documents.MOVED},
        ),
    )
    return tuple(attrs.evolve(one, parameters=(*_named(one), *one.parameters)) for one in routes)


def _named(route: Route) -> list[Parameter]:
    """Give what the names in a path may be."""
    schema = {"minLength": 1, "maxLength": 249, "pattern": "^[^\\u0000-\\u001f]+$"}
    return [Parameter(name, f"The name of the {name}.", "path", schema=schema) for name in route.names]
