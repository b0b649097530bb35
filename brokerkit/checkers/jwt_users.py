"""Users who bring their record themselves: a JWT that their account has signed, whose account an operator has signed.

The broker keeps nobody's record.  It keeps who vouches for whom (``brokerkit.jwts``) and makes tenants of the accounts
that are used.  What a user's token said stays with the login (``User.ticket``), and is judged again when an account
changes: resolvers are looked at once a second, some accounts at a time.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from brokerkit.allowance import Allowance
from brokerkit.checkers.known import Known, proof
from brokerkit.checkers.source import Source
from brokerkit.client import User
from brokerkit.errors import OperatorError, TenantFull, UnknownUser, WrongSecret
from brokerkit.interfaces import IJwt
from brokerkit.jwts import claims
from brokerkit.jwts.authority import UnknownAccount
from brokerkit.jwts.fields import BadJwt
from brokerkit.jwts.tenants import tenants
from brokerkit.permissions import grants
from brokerkit.tenant import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from twisted.internet.interfaces import IReactorTime

    from brokerkit.broker import Broker
    from brokerkit.grants import Grants, Rule
    from brokerkit.jwts.authority import Admitted, Authority
    from brokerkit.tenant import Tenant
    from brokerkit.tenants import Tenants

log = Logger()

INTERVAL = 1.0  # seconds
AT_ONCE = 500  # accounts that one look is about: some milliseconds
PROTOCOLS = {"STANDARD": "nats", "WEBSOCKET": "nats-websocket"}  # what types of connections are called here


@attrs.frozen
class Ticket:
    """What a user has shown, and from where."""

    user: claims.User
    address: str


class JwtUsers(Source, Service):
    """Knows whoever shows a JWT of an authority.

    ``system_account`` is the key of the account that is the broker's own tenant.
    """

    credentialInterfaces = (IJwt,)
    version: int = 0

    def __init__(self, authority: Authority, clock: IReactorTime, *, source: str, system_account: str = "") -> None:
        """Take who is trusted; nothing is fetched before somebody logs in."""
        self.source = source
        self.authority = authority
        self._clock = clock
        self._system = system_account
        self._tenants: Tenants | None = None
        self._known: dict[str, Tenant] = {}
        self._turn: Iterator[str] = iter(())
        self._looking = LoopingCall(self.look)
        self._looking.clock = clock

    def join(self, broker: Broker) -> None:
        """Have that broker learn of the tenants that there are."""
        self._tenants = broker.tenants
        self._rebuild()

    def startService(self) -> None:
        """Begin to look for changes."""
        super().startService()  # type: ignore[no-untyped-call]
        self._looking.start(INTERVAL, now=False)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()

    def look(self) -> None:
        """Look whether accounts have changed: some of them, in turn."""
        some = list(islice(self._turn, AT_ONCE))
        if len(some) < AT_ONCE:
            keys = self.authority.asked_for()
            self._turn = iter(keys[AT_ONCE - len(some) :])
            some += keys[: AT_ONCE - len(some)]
        if self.authority.look(dict.fromkeys(some)):
            log.info("{source}: accounts have changed", source=self.source)
            self.version += 1
            self._rebuild()

    # -- logging in -------------------------------------------------------------------------------------------------

    def find(self, credentials: Any) -> Known:  # noqa: ANN401  IJwt
        """Give the record of the user; raises what says why there is none."""
        moment = self._clock.seconds()
        before = len(self.authority.accounts)
        try:
            admitted = self.authority.admit(credentials.jwt, moment, credentials.address, credentials.is_signed_by)
            user = self._user(admitted, credentials.address)
        except UnknownAccount as problem:
            raise UnknownUser(why=f"a JWT {problem}") from None
        except BadJwt as problem:
            raise WrongSecret(why=f"a JWT {problem}") from None
        if admitted.account.connections == 0:
            raise TenantFull(user.name)
        if len(self.authority.accounts) != before:
            self._rebuild()
        return Known(user)

    def decide(self, known: Known | None, credentials: Any) -> User:  # noqa: ANN401, ARG002
        """Give the user: ``find`` has looked at everything."""
        if known is None:
            raise UnknownUser
        return known.user

    def again(self, user: User, known: User | None) -> User | None:  # noqa: ARG002  nobody is known by name
        """Judge anew what a user has shown."""
        ticket = user.ticket
        if not isinstance(ticket, Ticket):
            return None
        try:
            admitted = self.authority.judge(ticket.user, self._clock.seconds(), ticket.address)
            return self._user(admitted, ticket.address)
        except BadJwt as problem:
            log.info("{name} has to go: a JWT {problem}", name=user.name.decode(), problem=problem)
            return None

    def _user(self, admitted: Admitted, address: str) -> User:
        user, account, terms = admitted.user, admitted.account, admitted.terms
        terms = attrs.evolve(
            terms,
            subscriptions=_lower(terms.subscriptions, account.subscriptions),
            payload=_lower(terms.payload, account.payload),
        )
        made = user_of(user.key, self.source, terms, tenant=self._called(account.key), valid_until=admitted.valid_until)
        return attrs.evolve(made, owner=user.name, proof=proof(user.token.text.encode()), ticket=Ticket(user, address))

    # -- tenants ----------------------------------------------------------------------------------------------------

    def _called(self, account: str) -> str:
        return SYSTEM if account == self._system else account

    def _rebuild(self) -> None:
        """Tell of the tenants that are other ones than before."""
        if self._tenants is None:
            return
        for tenant in tenants(self.authority.accounts, self._called, self._clock.seconds()):
            if self._known.get(tenant.name) != tenant:
                self._known[tenant.name] = tenant
                try:
                    self._tenants.put(tenant)
                except (OperatorError, ValueError) as error:
                    log.error("{source}: {tenant}: {error}", source=self.source, tenant=tenant.name, error=error)

    # -- looking up -------------------------------------------------------------------------------------------------

    def users(self, names: Iterable[bytes]) -> Mapping[bytes, Known]:
        """Give the records of those of the names that are themselves JWTs: only who brings one is known."""
        found = {name: self._shown(name) for name in names if name.startswith(b"eyJ")}
        return {name: known for name, known in found.items() if known is not None}

    def _shown(self, name: bytes) -> Known | None:
        try:
            user = claims.user(name.decode())
            admitted = self.authority.judge(user, self._clock.seconds(), "")
        except UnknownAccount:
            return None
        except (BadJwt, UnicodeDecodeError) as problem:
            raise WrongSecret(f"a JWT {problem}") from None
        return Known(self._user(admitted, ""), public_keys=(user.key,))

    def where(self, name: bytes, action: str, rule: Rule | None) -> str:  # noqa: ARG002
        """Say that it stands in the JWT itself, or in what has signed that."""
        return f"the JWT of the user, or of its account ({self.source})"


def user_of(name: str, source: str, terms: claims.Terms, *, tenant: str, valid_until: float) -> User:
    """Give a user on these terms; raise ``BadJwt`` if they make no sense."""
    return User(
        name.encode(),
        source,
        _grants(terms),
        tenant=tenant,
        allowance=Allowance(subscriptions=_allowed(terms.subscriptions), payload=_allowed(terms.payload)),
        valid_until=valid_until,
        protocols=tuple(PROTOCOLS.get(kind, kind.lower()) for kind in terms.kinds),
    )


def _grants(terms: claims.Terms) -> Grants:
    permissions = terms.permissions
    try:
        return grants(permissions.publish, permissions.subscribe, permissions.responses)
    except ValueError:
        raise BadJwt("with permissions that are no subjects") from None


def _lower(one: int, other: int) -> int:
    """Give the lower of two limits, of which -1 is none."""
    return min((limit for limit in (one, other) if limit >= 0), default=-1)


def _allowed(limit: int) -> int:
    """Give a limit as an allowance has it, where 0 is none and -1 is nothing at all."""
    return 0 if limit < 0 else limit or -1
