"""Consumer groups by the modern API: members with leases, records for whoever polls, offsets that are committed.

Nothing of it hangs on a connection or on this process: a member's id, its group and the generation it knows are all
that a request needs.  A member is its user's own, and so is a group: it belongs to the user who used it first.  To use
that of another is the action ``commit_group``, to move it ``reset_group``; what is read in it needs the right to
subscribe, each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.protocols.kafka_rest.v1_group_members import Members
from brokerkit.protocols.kafka_rest.v1_group_moving import Moving
from brokerkit.protocols.kafka_rest.v1_group_offsets import Offsets
from brokerkit.protocols.kafka_rest.v1_group_table import table

if TYPE_CHECKING:
    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.web import Route


class GroupRoutes:
    """The routes about groups, and what a WebSocket does by the same words."""

    def __init__(self, here: Here) -> None:
        """Serve the groups there."""
        self.members = Members(here)
        self.offsets = Offsets(here)
        self.commit_with = self.offsets.commit_with
        self._moving = Moving(here)

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        return table(self.members, self.offsets, self._moving)
