"""The access keys of a ``bpbroker.json`` as users, so that they are logged in as all users are, throttled and counted.

A key belongs to a section: that of ``services`` is good for the whole registry, that of an extension for its methods.
Sections that have the same key are one user.  What has no key is open, as it was with the original, also to who has
shown a key; but only where the file is all that says who may do what: beside other sources of users it opens nothing.

The keys stay out of the registry, and are held by their digests to be looked up.  The file is read again when it
changes, as ``keys_file`` has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.checkers.in_memory import InMemory
from brokerkit.checkers.known import Known, Users
from brokerkit.client import User
from brokerkit.errors import ConfigError, Words
from brokerkit.grants import Access, Grants, Rule
from brokerkit.interfaces import IAnonymousRequest, IToken
from brokerkit.protocols.bpbroker import document as doc
from brokerkit.protocols.bpbroker.call import EXECUTE
from brokerkit.registry.access import ANY, READ, WRITE, rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zope.interface.interface import InterfaceClass

NOBODY = b"anonymous"
SERVICES = "services"


class AccessKeys(InMemory):
    """Knows the keys of one file, and whoever shows nothing, if something is open."""

    def __init__(self, path: str, document: doc.Document, *, opens: bool, tenant: str = "") -> None:
        """Take what a file says, of users of a tenant; with ``opens``, what has no key is for everybody.

        Raises ``ConfigError``.
        """
        self.source = f"access keys in {path}"
        self._opens = opens
        self._tenant = tenant
        self.credentialInterfaces: tuple[InterfaceClass, ...] = (IToken, IAnonymousRequest) if opens else (IToken,)
        self.know(Said.of(document, path))

    def know(self, said: Said) -> None:
        """Put what a file says in the place of what it said before."""
        self._said = said
        keys = said.keys
        free = [section for section in said.callable if section not in keys] if self._opens else []
        self._users = Users(self._known(key, sections, free) for key, sections in _by_key(keys).items())
        self._anybody = Known(User(NOBODY, self.source, _grants(free), tenant=self._tenant)) if free else None

    def _known(self, key: str, sections: list[str], free: list[str]) -> Known:
        name = f"key of {', '.join(sections)}".encode(errors="replace")[:255].decode(errors="ignore").encode()
        user = User(name, self.source, _grants([*sections, *free]), tenant=self._tenant)
        return Known(user, token=key.encode(errors="surrogatepass"))

    @property
    def offered(self) -> tuple[InterfaceClass, ...]:
        """What somebody can show now."""
        return (IToken, IAnonymousRequest) if self._anybody is not None else (IToken,)

    def guards(self, section: str) -> bool:
        """Say whether a section asks for a key now."""
        return section in self._said.keys

    def find(self, credentials: Any) -> Known | None:  # noqa: ANN401  a token, or nothing
        """Give the user of a key, or whoever shows nothing."""
        return super().find(credentials) if IToken.providedBy(credentials) else self._anybody

    def users(self, names: Iterable[bytes]) -> dict[bytes, Known]:
        """Give those of the names that are known."""
        found = super().users(names)
        return found if self._anybody is None or NOBODY not in names else {**found, NOBODY: self._anybody}

    def decide(self, known: Known | None, credentials: Any) -> Any:  # noqa: ANN401  a User
        """Give the user; who shows nothing has nothing to prove."""
        if known is not None and known is self._anybody:
            return known.proven()
        return super().decide(known, credentials)

    def where(self, name: bytes, action: str, rule: Rule | None) -> str:  # noqa: ARG002
        """Give the file and the sections."""
        return f"{self.source}: {name.decode(errors='replace')}"


@attrs.frozen
class Said:
    """What a file says of access: the key of each section that has one, and the sections that can be called."""

    keys: Mapping[str, str] = attrs.field(repr=False)
    callable: tuple[str, ...]

    @classmethod
    def of(cls, document: doc.Document, path: str) -> Said:
        """Read it from a document; raise ``ConfigError``."""
        keys = doc.access_keys(document)
        for section, key in keys.items():
            if not isinstance(key, str):
                raise ConfigError(path, f"{section}._access_key", Words("something else"), "a string")
        return cls(keys, ("ping", SERVICES, *doc.extensions(document)))


def _by_key(keys: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for section, key in sorted(keys.items()):
        found.setdefault(key, []).append(section)
    return found


def _grants(sections: Iterable[str]) -> Grants:
    """Give the rights that sections stand for."""
    everything = Access(rules([ANY]))
    calls = tuple(
        Rule(f"{section}.".encode(errors="surrogatepass"), begins=True) for section in sections if section != SERVICES
    )
    actions = {EXECUTE: Access(calls)} if calls else {}
    return Grants({**actions, READ: everything, WRITE: everything} if SERVICES in sections else actions)
