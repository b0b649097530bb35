"""``tls`` and ``websocket``: how connections come."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from brokerkit.protocols.nats.conf import durations
from brokerkit.protocols.nats.conf.fields import (
    address,
    aliases,
    elements,
    expect,
    flag,
    ignored,
    pairs,
    period,
    port,
    read,
    sets,
    text,
    texts,
    unsupported,
)
from brokerkit.protocols.nats.conf.server import Tls, WebSocket
from brokerkit.protocols.nats.conf.tree import Pair, Value, Wrong

if TYPE_CHECKING:
    from brokerkit.protocols.nats.conf.fields import Notes
    from brokerkit.protocols.nats.conf.server import Server

_DIGEST = re.compile("[0-9a-fA-F]{64}")
_TLS_1_2, _TLS_1_3 = "1.2", "1.3"


# -- tls ----------------------------------------------------------------------------------------------------------


def tls(target: Any, pair: Pair, notes: Notes) -> None:  # noqa: ANN401  a Server or a WebSocket
    """Read a block of TLS; one that is empty would be TLS that nobody can begin, and is refused."""
    found = Tls(pair.place)
    before = len(notes.errors)
    read(pair.value, _TLS, found, notes)
    if len(notes.errors) == before:
        _check(found, pair)
    target.tls = found


def _check(found: Tls, pair: Pair) -> None:
    for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if getattr(found, other) and not getattr(found, key):
            raise Wrong(pair.place, f"{key} is missing beside {other}")
    if not found.cert_file:
        raise Wrong(pair.place, "cert_file and key_file are missing")
    if (found.verify or found.verify_and_map) and not found.ca_file:
        # nats-server would take every authority that the machine knows, so everybody with any certificate.
        raise Wrong(pair.place, "verify needs ca_file, the authority that clients' certificates are of")


def _path(value: Value) -> str:
    """Read the path of a file, which is relative to the working directory, as nats-server has it."""
    found = text(value)
    try:
        with open(found, "rb"):  # noqa: PTH123  nothing is read
            return os.path.abspath(found)  # noqa: PTH100  resolve would follow today's links
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Wrong(value.place, f"{found}: cannot be read: {why}") from None


def _certs(found: Tls, pair: Pair, _: Notes) -> None:
    """Read a list of pairs of files, of which there may be one here."""
    listed = elements(pair.value)
    if len(listed) != 1:
        raise Wrong(pair.place, "one pair of cert_file and key_file is expected")
    for one in pairs(listed[0]).values():
        if one.key.lower() in {"cert_file", "key_file"}:
            setattr(found, one.key.lower(), _path(one.value))


def _first(found: Tls, pair: Pair, _: Notes) -> None:
    """Read when TLS begins."""
    data = expect(pair.value, bool, str)
    if isinstance(data, bool):
        found.handshake = "first" if data else "after-info"
        return
    found.handshake = "auto"
    if data.lower() not in {"auto", "auto_fallback"}:
        try:
            found.fallback = durations.seconds(data)
        except ValueError:
            raise Wrong(pair.value.place, "true, false, auto or a duration such as 300ms is expected") from None


def _pins(value: Value) -> tuple[str, ...]:
    found = texts(value)
    for one in found:
        if not _DIGEST.fullmatch(one):
            raise Wrong(value.place, "a SHA-256 of a public key (SPKI) in 64 hexadecimal digits is expected")
    return found


def _min_version(_: Tls, pair: Pair, notes: Notes) -> None:
    found = text(pair.value)
    if found not in {_TLS_1_2, _TLS_1_3}:
        raise Wrong(pair.value.place, f"{_TLS_1_2} or {_TLS_1_3} is expected, in quotes")
    if found == _TLS_1_3:
        notes.unsupported(pair.place, '"min_version": TLS 1.2 is taken, too')


_TLS = aliases(
    {
        "cert_file": sets("cert_file", _path),
        "key_file": sets("key_file", _path),
        "ca_file": sets("ca_file", _path),
        "certs": _certs,
        "verify": sets("verify", flag),
        "verify_and_map": sets("verify_and_map", flag),
        "timeout": sets("timeout", period),
        ("handshake_first", "first", "immediate"): _first,
        ("pinned_certs", "pinned_cert"): sets("pinned_certs", _pins),
        "min_version": _min_version,
        # What only clients of other servers look at, and which ciphers are good: OpenSSL's choice here.
        ("insecure", "ocsp_peer", "allow_insecure_cipher_suites"): ignored,
        ("cipher_suites", "curve_preferences"): unsupported("OpenSSL's own choice is used"),
        "connection_rate_limit": unsupported("logins are bounded by address instead"),
        "verify_cert_and_check_known_urls": unsupported("that is for clusters"),
        ("cert_store", "cert_match_by", "cert_match", "ca_certs_match"): unsupported("Windows only"),
    }
)


# -- websocket ----------------------------------------------------------------------------------------------------


def websocket(server: Server, pair: Pair, notes: Notes) -> None:
    """Read the listener for browsers."""
    found = WebSocket(pair.place)
    read(pair.value, _WEBSOCKET, found, notes)
    server.websocket = found
    if found.port and found.tls is None and not found.no_tls:
        notes.wrong(Wrong(pair.place, 'a websocket needs "tls", or "no_tls: true" behind something that does TLS'))


def _listen(found: WebSocket, pair: Pair, _: Notes) -> None:
    host, found.port = address(pair.value)
    found.host = host or found.host


def _no_authorization(_: WebSocket, pair: Pair, notes: Notes) -> None:
    if pairs(pair.value):  # to ignore it could let in whom it does not name
        notes.wrong(Wrong(pair.place, '"authorization" of a websocket alone is not supported'))


_WEBSOCKET = aliases(
    {
        "listen": _listen,
        "port": sets("port", port),
        ("host", "net"): sets("host", text),
        "advertise": sets("advertise", text),
        "tls": tls,
        "no_tls": sets("no_tls", flag),
        "same_origin": sets("same_origin", flag),
        ("allowed_origins", "allowed_origin", "allow_origins", "allow_origin", "origins", "origin"): sets(
            "allowed_origins", texts
        ),
        ("compression", "compress"): sets("compression", flag),
        "handshake_timeout": sets("handshake_timeout", period),
        "no_auth_user": sets("no_auth_user", text),
        "jwt_cookie": sets("jwt_cookie", text),
        "user_cookie": sets("user_cookie", text),
        "pass_cookie": sets("pass_cookie", text),
        "token_cookie": sets("token_cookie", text),
        ("authorization", "authentication"): _no_authorization,
        ("headers", "ping_interval"): unsupported("is not supported for a websocket"),
    }
)
