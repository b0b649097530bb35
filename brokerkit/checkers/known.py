"""What the sources of users share: the record of a known user, and the decision whether credentials fit it.

A secret is compared as it is, not hashed: the challenge of hpfeeds can only be checked by whoever has the secret
itself.  Comparisons take constant time, and an empty secret or token is none: nobody logs in with it.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

import attrs
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword

from brokerkit.errors import UnknownUser, WrongSecret
from brokerkit.grants import PUBLISH, SUBSCRIBE, Access, Grants, literal, patterns
from brokerkit.interfaces import IToken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.client import User

BY_SECRET = (IUsernamePassword, IUsernameHashedPassword, IToken)

MAX_NAME = 255  # bytes: hpfeeds gives the sender's name with each message, and its length in one byte


@attrs.frozen
class Known:
    """A user, the secret that proves a claim to its name, and the token that stands for it alone (empty: none)."""

    user: User
    secret: bytes = attrs.field(repr=False)
    token: bytes = attrs.field(default=b"", repr=False)


def decide(known: Known, credentials: Any) -> User:  # noqa: ANN401  any of BY_SECRET
    """Give the user if the credentials fit; raise ``WrongSecret`` if they do not."""
    if not _fit(known, credentials):
        raise WrongSecret(known.user.name)
    return known.user


def _fit(known: Known, credentials: Any) -> bool:  # noqa: ANN401  any of BY_SECRET
    if IToken.providedBy(credentials):
        return bool(known.token) and compare_digest(known.token, credentials.token)
    if not known.secret:
        return False
    if IUsernamePassword.providedBy(credentials):
        return compare_digest(known.secret, _octets(credentials.password))
    # Others' classes may answer with a Deferred, which is true whatever its result.
    return credentials.checkPassword(known.secret) is True


def _octets(text: bytes | str) -> bytes:
    return text.encode(errors="surrogatepass") if isinstance(text, str) else text


class Users:
    """The known users of one source, by name and by token."""

    def __init__(self, known: Iterable[Known] = ()) -> None:
        """Take the users; their names are different, and their tokens too."""
        self._by_name = {one.user.name: one for one in known}
        # By digest, so that a look-up takes the same time however much of a guessed token is right.
        self._by_token = {_digest(one.token): one for one in self._by_name.values() if one.token}

    def __len__(self) -> int:
        """Give the number of users."""
        return len(self._by_name)

    def login(self, credentials: Any) -> User:  # noqa: ANN401  any of BY_SECRET
        """Give the user of the credentials; raise ``UnknownUser`` or ``WrongSecret``."""
        if IToken.providedBy(credentials):
            known = self._by_token.get(_digest(credentials.token))
        else:
            known = self._by_name.get(credentials.username)
        if known is None:
            raise UnknownUser
        return decide(known, credentials)


def _digest(token: bytes) -> bytes:
    return sha256(token).digest()


def is_name(name: bytes) -> bool:
    """Say whether every protocol can carry ``name`` as a user's: not too long, and UTF-8."""
    if len(name) > MAX_NAME:
        return False
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def allowed(
    *,
    pubchans: Iterable[bytes] = (),
    subchans: Iterable[bytes] = (),
    publish: Iterable[bytes] = (),
    subscribe: Iterable[bytes] = (),
) -> Grants:
    """Make grants of the lists that a user has: literal names in hpfeeds' two, patterns in ours."""
    return Grants(
        {
            PUBLISH: Access(literal(pubchans) + patterns(publish)),
            SUBSCRIBE: Access(literal(subchans) + patterns(subscribe)),
        }
    )
