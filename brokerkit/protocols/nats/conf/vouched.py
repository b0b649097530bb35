"""Users by JWT: what an operator's file names, and where the accounts are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from brokerkit import nkeys
from brokerkit.checkers.jwt_setting import bare, read_operator
from brokerkit.checkers.jwt_users import JwtUsers
from brokerkit.errors import OperatorError
from brokerkit.jwts import claims
from brokerkit.jwts.authority import Authority
from brokerkit.jwts.fields import BadJwt
from brokerkit.jwts.resolvers import Directory, Preloaded
from brokerkit.protocols.nats.conf.tree import Wrong

if TYPE_CHECKING:
    from brokerkit.jwts.claims import Operator as Claims
    from brokerkit.jwts.resolvers import Resolver
    from brokerkit.protocols.nats.conf.server import Server

BEGINS = "eyJ"  # every JWT does


def authority(server: Server) -> tuple[Authority, str]:
    """Give who is trusted, and the key of the system's account, empty if none is named; raise ``OperatorError``."""
    operator = server.operator
    place = operator.place
    assert place is not None  # noqa: S101  or nobody asks
    operators = [_operator(text, server) for text in operator.tokens]
    for key in operator.pinned:
        _check_account(key, server)
    system = server.system_account if server.system_place is not None else ""
    system = system or next((one.system_account for one in operators if one.system_account), "")
    if system:
        _check_account(system, server)
    return Authority(operators, _resolver(server), keys=operator.keys, pinned=operator.pinned), system


def source(server: Server, reactor: Any) -> JwtUsers:  # noqa: ANN401  any reactor
    """Give the source of users; raise ``OperatorError``."""
    found, system = authority(server)
    return JwtUsers(found, reactor, source=f"operator in {server.source}", system_account=system)


def _operator(text: str, server: Server) -> Claims:
    if not text.startswith(BEGINS):
        return read_operator(text)
    try:
        return claims.operator(bare(text))
    except BadJwt as problem:
        assert server.operator.place is not None  # noqa: S101
        raise Wrong(server.operator.place, f"the JWT of an operator is expected, and this is one {problem}") from None


def _check_account(key: str, server: Server) -> None:
    if not nkeys.is_key(key, nkeys.ACCOUNT):
        raise OperatorError(f"{server.source}: the public nkey of an account is expected: A and 55 letters and digits")


def _resolver(server: Server) -> Resolver:
    operator = server.operator
    if operator.directory and not operator.memory:
        if not Path(operator.directory).is_dir():
            raise OperatorError(f"{server.source}: resolver: {operator.directory}: is no directory")
        if operator.preload:
            raise OperatorError(f"{server.source}: resolver_preload: goes with the memory resolver alone")
        return Directory(operator.directory)
    for key, token in operator.preload.items():
        _check_token(key, token, server)
    return Preloaded(operator.preload)


def _check_token(key: str, token: str, server: Server) -> None:
    _check_account(key, server)
    try:
        found = claims.account(token)
    except BadJwt as problem:
        raise OperatorError(f"{server.source}: resolver_preload: {key}: a JWT {problem}") from None
    if found.key != key:
        raise OperatorError(f"{server.source}: resolver_preload: {key}: the JWT of another account")
