"""Permissions with blanks to fill in: ``{{name()}}`` and the like, in the terms of a signing key.

What is filled in comes from the tokens of user and account.  A tag that is given several times makes an entry of each,
and several blanks make one of each combination.  What comes out must be a subject: an entry among those that are
allowed is left out where it is none, one among those that are denied ends the login, since it would deny too little.
If nothing is left of what is allowed, nothing is.  A wildcard that is filled in is one: who holds a signing key is
trusted with names and tags, as with nats-server.
"""

from __future__ import annotations

import re
from itertools import islice, product
from typing import TYPE_CHECKING

import attrs

from brokerkit.jwts.fields import BadJwt
from brokerkit.permissions import Lists
from brokerkit.topics import is_pattern

if TYPE_CHECKING:
    from brokerkit.jwts.claims import Account, Permissions, User

BLANK = re.compile(r"\{\{(.*?)\}\}")
TAGGED = re.compile(r"(tag|account-tag)\((.+)\)")
MOST = 1000  # entries that one can become


def filled(permissions: Permissions, user: User, account: Account) -> Permissions:
    """Give the permissions of this user; raise ``BadJwt`` where a blank is not known, or a denial comes to nothing."""
    return attrs.evolve(
        permissions,
        publish=_lists(permissions.publish, user, account),
        subscribe=_lists(permissions.subscribe, user, account),
    )


def _lists(lists: Lists, user: User, account: Account) -> Lists:
    allow = None
    if lists.allow is not None:
        allow = tuple(found for entry in lists.allow for found in _entries(entry, user, account, strict=False))
    deny = tuple(found for entry in lists.deny for found in _entries(entry, user, account, strict=True))
    return Lists(allow, deny)


def _entries(entry: str, user: User, account: Account, *, strict: bool) -> list[str]:
    """Give what an entry becomes."""
    blanks = BLANK.findall(entry)
    if not blanks:
        return [entry]
    choices = [_values(blank.strip().lower(), user, account) for blank in blanks]
    made = [_fill(entry, values) for values in islice(product(*choices), MOST)]
    good = [one for one in made if one is not None]
    if strict and (not good or len(good) < len(made)):
        raise BadJwt("with a denial of its signing key that cannot be filled in")
    return good


def _fill(entry: str, values: tuple[str, ...]) -> str | None:
    """Give an entry with its blanks filled in; ``None`` if that is no subject."""
    given = iter(values)
    made = BLANK.sub(lambda _: next(given), entry)
    words = made.split(" ")
    return made if len(words) == len(entry.split(" ")) and all(words) and is_pattern(words[0].encode()) else None


def _values(blank: str, user: User, account: Account) -> list[str]:
    """Give what a blank may stand for."""
    plain = {
        "name()": user.name,
        "subject()": user.key,
        "account-name()": account.name,
        "account-subject()": account.key,
    }
    if blank in plain:
        values = [plain[blank]]
    elif found := TAGGED.fullmatch(blank):
        prefix = f"{found[2]}:"
        tags = user.tags if found[1] == "tag" else account.tags
        values = [tag[len(prefix) :] for tag in tags if tag.startswith(prefix)]
    else:
        raise BadJwt("with terms of its signing key that have a blank which is not known")
    return values
