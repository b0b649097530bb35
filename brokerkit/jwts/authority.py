"""Who is let in by a user's token: the chain from the operator over the account to the user, and the terms.

Everything here is a plain function of tokens and the moment; nothing is remembered but the tokens of accounts that have
been read, which are read again when their resolver has others.  The same questions are asked at the login and, of those
who are in, whenever an account has changed; only the signature of the nonce is asked for once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit.jwts import claims
from brokerkit.jwts.fields import BadJwt
from brokerkit.jwts.hours import check_address, until
from brokerkit.jwts.templates import filled
from brokerkit.topics import covers, is_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from brokerkit.jwts.claims import Account, Operator, Terms, User
    from brokerkit.jwts.resolvers import Resolver, State

EVERYBODY = "*"


class UnknownAccount(BadJwt):
    """The account of a user is not one of those that this authority knows."""


@attrs.frozen
class Admitted:
    """A user who may come in: on these terms, until that moment (0: for as long as the account lets it)."""

    user: User
    account: Account
    terms: Terms
    valid_until: float


@attrs.frozen
class _Read:
    """What a resolver had for an account, in one state: its claims, or why they count for nothing."""

    state: State | None
    account: Account | None
    problem: str = ""


class Authority:
    """Operators that are trusted, and the resolver that has their accounts.

    ``pinned`` are the only accounts whose users are let in, if there are any.
    """

    def __init__(
        self,
        operators: Iterable[Operator],
        resolver: Resolver,
        *,
        keys: Collection[str] = (),
        pinned: Collection[str] = (),
    ) -> None:
        """Trust these operators, and whoever else has one of these keys."""
        operators = tuple(operators)
        self.resolver = resolver
        self._pinned = frozenset(pinned)
        self._trusted = frozenset(keys).union(*(one.trusted for one in operators))
        self._strict = {key for one in operators if one.strict for key in one.trusted}
        self._read: dict[str, _Read] = {}

    @property
    def accounts(self) -> list[Account]:
        """Those that have been asked for, and count for something."""
        return [one.account for one in self._read.values() if one.account is not None]

    def look(self, keys: Iterable[str]) -> bool:
        """Read again those of the accounts that have changed; say whether any has."""
        changed = False
        for key in keys:
            before = self._read.get(key)
            if before is not None and self.resolver.state(key) != before.state:
                self._read[key] = self._fetch(key)
                changed = True
        return changed

    def asked_for(self) -> list[str]:
        """Give the keys of the accounts that have been asked for."""
        return list(self._read)

    def account(self, key: str, now: float) -> Account:
        """Give the claims of an account that are true now; raise ``BadJwt``."""
        found = self._read.get(key)
        if found is None:
            found = self._fetch(key)
            if found.account is None:
                raise UnknownAccount(found.problem)
            self._read[key] = found
        if found.account is None:
            raise UnknownAccount(found.problem)
        found.account.token.check_time(now)
        return found.account

    def _fetch(self, key: str) -> _Read:
        state = self.resolver.state(key)  # before the content: what is written meanwhile is seen at the next look
        text = self.resolver.fetch(key) if state is not None else None
        if text is None:
            return _Read(state, None, f"of an account that is not known, {key}")
        try:
            account = claims.account(text)
            if account.key != key:
                raise BadJwt("of another account")
            if account.issuer not in self._trusted:
                raise BadJwt("that no trusted operator has signed")
        except BadJwt as problem:
            return _Read(state, None, f"of an account, {key}, that has one {problem}")
        return _Read(state, account)

    def admit(self, text: str, now: float, address: str, signed_by: Callable[[str], bool]) -> Admitted:
        """Give who is let in by a token; raise ``BadJwt`` with the reason.

        ``signed_by`` says whether the nonce was signed with a key.
        """
        user = claims.user(text)
        admitted = self.judge(user, now, address)
        if not (admitted.terms.bearer or signed_by(user.key)):
            raise BadJwt("beside which the nonce was not signed with its key")
        return admitted

    def judge(self, user: User, now: float, address: str) -> Admitted:
        """Give what is true now of a user; raise ``BadJwt`` if that is not to be here."""
        user.token.check_time(now)
        if self._pinned and user.account not in self._pinned:
            raise BadJwt("of an account that is not among those which are pinned")
        account = self.account(user.account, now)
        terms = self._terms(user, account)
        if terms.bearer and account.no_bearers:
            raise BadJwt("of a bearer, which its account does not let in")
        if terms.proxied:
            raise BadJwt("of a user who has to come by a proxy")
        if _is_revoked(account.revoked, user.key, user.token.issued):
            raise BadJwt("that is revoked")
        check_address(terms.sources, address)
        moments = (user.token.expires, account.token.expires, until(terms.hours, terms.zone, now))
        return Admitted(user, account, terms, float(min(filter(None, moments), default=0)))

    def _terms(self, user: User, account: Account) -> Terms:
        """Give the terms: the user's own, or those of the key that has signed them; and the account's permissions."""
        issuer = user.token.issuer
        terms = user.terms
        if issuer == account.key:
            if account.issuer in self._strict:
                raise BadJwt("signed by its account, where a signing key is expected")
        elif issuer not in account.signing_keys:
            raise BadJwt("signed by a key that is not one of its account")
        elif (scope := account.signing_keys[issuer]) is not None:
            if not user.is_scoped:
                raise BadJwt("with terms of its own, and signed by a key that has some")
            terms = attrs.evolve(scope, permissions=filled(scope.permissions, user, account))
        if terms.permissions.says_nothing:
            terms = attrs.evolve(terms, permissions=account.permissions)
        return terms


def _is_revoked(revoked: dict[str, int], key: str, issued: int) -> bool:
    """Say whether what was issued to ``key`` at that moment is revoked: all until a moment, of one or of everybody."""
    return any(issued <= revoked[name] for name in (key, EVERYBODY) if name in revoked)


def is_activated(imported: claims.Imported, exported: claims.Exported, exporter: Account, by: str, now: float) -> bool:
    """Say whether an account, whose key is ``by``, may have a private export of ``exporter``.

    It has to stand in the subject, or to have a token of the exporter, which may be revoked.
    """
    if exported.position:
        tokens = imported.subject.split(".")
        return exported.position <= len(tokens) and tokens[exported.position - 1] == by
    try:
        token = claims.activation(imported.activation)
        token.check_time(now)
    except BadJwt:
        return False
    return (
        (token.issuer == exporter.key or token.issuer in exporter.signing_keys)
        and (token.nats.text("issuer_account") or token.issuer) == exporter.key
        and token.nats.text("kind") in {"", imported.kind}
        and token.subject == by
        and _is_part(imported.subject, token.nats.text("subject"))
        and not _is_revoked(exported.revoked, by, token.issued)
    )


def _is_part(subject: str, of: str) -> bool:
    return is_pattern(subject.encode()) and is_pattern(of.encode()) and covers(of.encode(), subject.encode())
