"""What may be said of a group: names, what one who joins wants, what is kept with an offset; and whose a member is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit import topics as topic_words
from brokerkit.log.groups_words import FIRST, LAST, LONGEST_SESSION, METADATA, NAME, SHORTEST_SESSION, NotOwner, Unfit

if TYPE_CHECKING:
    from brokerkit.log.groups_words import Joining, Member


def see_owner(member: Member, owner: str | None) -> None:
    """Raise ``NotOwner`` for a member of another user; ``None`` stands for somebody who may do it for all."""
    if owner is not None and member.owner != owner:
        raise NotOwner(f"the member {member.id!r} belongs to another user")


def see_name(name: str, what: str) -> None:
    """Raise ``Unfit`` for what is no name of a group or a member."""
    if not 0 < len(name) <= NAME or any(ord(letter) < 32 for letter in name):  # noqa: PLR2004  control characters
        raise Unfit(f"a {what} needs a name of 1 to {NAME} characters, none of them a control character")


def see_joining(joining: Joining) -> None:
    """Raise ``Unfit`` for what cannot be meant."""
    if joining.member:
        see_name(joining.member, "member")
    if not SHORTEST_SESSION <= joining.session_timeout <= LONGEST_SESSION:
        bounds = f"{SHORTEST_SESSION:g} to {LONGEST_SESSION:g} seconds"
        raise Unfit(f"session_timeout: found {joining.session_timeout:g}, expected {bounds}")
    if joining.start not in {FIRST, LAST}:
        raise Unfit(f"start: found {joining.start!r}, expected {FIRST} or {LAST}")
    for pattern in joining.patterns:
        if not topic_words.is_pattern(pattern):
            raise Unfit(f"{pattern.decode(errors='backslashreplace')!r} is not a pattern")


def see_metadata(metadata: str) -> str:
    """Give what may be kept with an offset; raise ``Unfit``."""
    if len(metadata) > METADATA:
        raise Unfit(f"metadata: found {len(metadata)} characters, expected at most {METADATA}")
    return metadata
