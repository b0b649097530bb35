"""From a file to a ``Server``: the table of all keys, and what each means here.

A key that is harmless is taken and ignored; what brokerkit does not do is named with its place, and ends the start
unless the operator is lenient.  What would let in whom nats-server would not is an error in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.errors import OperatorError
from brokerkit.protocols.nats.conf import accounts, rights, transport, trust
from brokerkit.protocols.nats.conf.digest import digest
from brokerkit.protocols.nats.conf.fields import (
    Notes,
    address,
    aliases,
    flag,
    ignored,
    limit,
    name,
    period,
    port,
    read,
    sets,
    text,
    unsupported,
)
from brokerkit.protocols.nats.conf.parse import load
from brokerkit.protocols.nats.conf.people import everybody
from brokerkit.protocols.nats.conf.server import Server
from brokerkit.protocols.nats.conf.tree import Pair, Wrong
from brokerkit.tenant import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.protocols.nats.conf.tree import Value

LEAST_LAME_DUCK = 30.0  # seconds


class Refused(OperatorError):
    """A file says what cannot be meant, or what is not supported: one line for each."""


def read_file(path: str, *, lenient: bool = False, environment: Mapping[str, str] | None = None) -> Server:
    """Read a configuration file of nats-server; raise ``OperatorError`` with a line for each thing that is wrong."""
    return read_value(load(path, environment), path, lenient=lenient)


def read_value(value: Value, source: str, *, lenient: bool = False) -> Server:
    """Read what a file called ``source`` says; raise ``Refused``."""
    if not value.data:
        raise OperatorError(f"{source}: the file says nothing")
    notes, server = Notes(lenient), Server(source, digest(value))
    read(value, KEYS, server, notes)
    if not notes.errors:
        _check(server, notes)
    if notes.errors:
        raise Refused("\n".join(notes.errors))
    server.warnings = notes.warnings
    return server


# -- what belongs together ----------------------------------------------------------------------------------------


def _check(server: Server, notes: Notes) -> None:
    accounts.share(server, notes)
    _check_names(server, notes)
    authorization = server.authorization
    if server.accounts and authorization.place and (authorization.user or authorization.token):
        people = [one for account in server.accounts.values() for one in account.users]
        if people:
            what = "a single user" if authorization.user else "a token"
            notes.wrong(Wrong(authorization.place, f"{what} and the users of accounts exclude each other"))
    if 0 < server.max_pending < server.max_payload:
        notes.errors.append(f"{server.source}: max_payload cannot be higher than max_pending")
    if server.lame_duck_grace >= server.lame_duck_duration:
        notes.errors.append(f"{server.source}: lame_duck_grace_period has to be lower than lame_duck_duration")
    operator = server.operator
    if not operator.place:
        _check_system_account(server, notes)
        _check_callout(server, notes)
    if operator.place and (authorization.place or server.accounts):
        notes.wrong(Wrong(operator.place, "with an operator there are no users, tokens and accounts in the file"))
    if operator.place and not (operator.memory or operator.directory):
        notes.wrong(Wrong(operator.place, "an operator needs a resolver: memory, or a map with type and dir"))


def _check_names(server: Server, notes: Notes) -> None:
    """No two users have one name."""
    seen: set[str] = set()
    people = list(server.authorization.users)
    for account in server.accounts.values():
        people += account.users
    for one in people:
        key = one.nkey or one.name
        if key in seen:
            notes.wrong(Wrong(one.place, f'the user "{key}" is there already'))
        seen.add(key)


def _check_callout(server: Server, notes: Notes) -> None:
    """Those who answer the callout have to be able to log in, and its account has to be there."""
    callout = server.authorization.callout
    if callout is None:
        return
    names = {one.nkey or one.name for one in everybody(server)}
    for one in callout.auth_users:
        if one not in names:
            notes.wrong(Wrong(callout.place, f'"{one}" of auth_users is no user of this file'))
    if callout.account not in {"", accounts.DEFAULT, *server.accounts}:
        notes.wrong(Wrong(callout.place, f'the account "{callout.account}" is not defined'))


def _check_system_account(server: Server, notes: Notes) -> None:
    account, place = server.system_account, server.system_place
    if place is None or account == SYSTEM:
        return
    if account not in server.accounts:
        notes.wrong(Wrong(place, f'the account "{account}" is not defined'))
    elif SYSTEM in server.accounts:
        notes.wrong(Wrong(place, f'the account "{SYSTEM}" is there beside "{account}", and one can be the system\'s'))


# -- single keys --------------------------------------------------------------------------------------------------


def _listen(server: Server, pair: Pair, _: Notes) -> None:
    host, server.port = address(pair.value)
    server.host = host or server.host


def _http(server: Server, pair: Pair, _: Notes) -> None:
    server.http_host, server.http_port = address(pair.value)


def _https(server: Server, pair: Pair, _: Notes) -> None:
    server.https_host, server.https_port = address(pair.value)


def _server_name(server: Server, pair: Pair, _: Notes) -> None:
    server.name = name(pair.value)


def _system_account(server: Server, pair: Pair, _: Notes) -> None:
    server.system_account, server.system_place = text(pair.value), pair.value.place


def _lame_duck(server: Server, pair: Pair, _: Notes) -> None:
    server.lame_duck_duration = period(pair.value)
    if server.lame_duck_duration < LEAST_LAME_DUCK:
        raise Wrong(pair.value.place, f"at least {LEAST_LAME_DUCK:g}s is expected")


def _client_advertise(server: Server, pair: Pair, _: Notes) -> None:
    from brokerkit.protocols.nats.advertise import read_address

    try:
        read_address(text(pair.value))
    except ValueError as error:
        raise Wrong(pair.value.place, f"{error} is expected") from None
    server.client_advertise = pair.value.data


def _no_headers(_: Server, pair: Pair, notes: Notes) -> None:
    if flag(pair.value):
        notes.unsupported(pair.place, '"no_header_support": headers are always there')


def _control_line(server: Server, pair: Pair, _: Notes) -> None:
    server.max_control_line = limit(pair.value)


_NO_CLUSTER = "brokerkit joins no cluster yet"

KEYS = aliases(
    {
        "listen": _listen,
        ("host", "net"): sets("host", text),
        "port": sets("port", port),
        "server_name": _server_name,
        "client_advertise": _client_advertise,
        "http": _http,
        "https": _https,
        ("http_port", "monitor_port"): sets("http_port", port),
        "https_port": sets("https_port", port),
        "http_base_path": sets("http_base_path", text),
        "max_payload": sets("max_payload", limit),
        "max_pending": sets("max_pending", limit),
        ("max_connections", "max_conn"): sets("max_connections", limit),
        ("max_subscriptions", "max_subs"): sets("max_subscriptions", limit),
        "max_control_line": _control_line,
        "ping_interval": sets("ping_interval", period),
        "ping_max": sets("ping_max", limit),
        "write_deadline": sets("write_deadline", period),
        "lame_duck_duration": _lame_duck,
        "lame_duck_grace_period": sets("lame_duck_grace", period),
        "authorization": rights.authorization,
        "accounts": accounts.accounts,
        ("mappings", "maps"): accounts.mappings,
        ("system_account", "system"): _system_account,
        ("no_system_account", "no_system", "no_sys_acc"): ignored,  # it is there, and nobody need log in to it
        "no_auth_user": sets("no_auth_user", text),
        "tls": transport.tls,
        "allow_non_tls": sets("allow_non_tls", flag),
        ("websocket", "ws"): transport.websocket,
        ("operator", "operators", "roots", "root"): trust.operators,
        ("trusted", "trusted_keys"): trust.trusted_keys,
        ("resolver", "account_resolver", "accounts_resolver"): trust.resolver,
        "resolver_preload": trust.preload,
        "resolver_pinned_accounts": trust.pinned,
        "resolver_tls": ignored,
        ("pid_file", "pidfile"): sets("pid_file", text),
        "ports_file_dir": sets("ports_file_dir", text),
        ("log_file", "logfile"): sets("log_file", text),
        "logtime": sets("logtime", flag),
        "logtime_utc": sets("logtime_utc", flag),
        "debug": sets("debug", flag),
        "trace": sets("trace", flag),
        ("trace_verbose", "trace_headers", "max_traced_msg_len"): ignored,
        ("log_size_limit", "logfile_size_limit", "log_max_num", "logfile_max_num"): ignored,
        ("connect_error_reports", "reconnect_error_reports", "max_closed_clients"): ignored,
        ("disable_sublist_cache", "no_fast_producer_stall", "write_timeout", "server_tags", "prof_port"): ignored,
        ("feature_flags", "prof_block_rate", "default_js_domain", "ocsp_cache", "store_dir"): ignored,
        "no_header_support": _no_headers,
        ("syslog", "remote_syslog"): unsupported("write to a file or to standard error, which journald takes"),
        "max_subscription_tokens": unsupported("the number of tokens is not bounded"),
        "cluster": unsupported(_NO_CLUSTER),
        "gateway": unsupported(_NO_CLUSTER),
        ("leafnodes", "leaf"): unsupported("brokerkit has no leaf nodes yet"),
        "jetstream": unsupported("brokerkit has no JetStream"),
        "mqtt": unsupported("brokerkit does not speak MQTT yet"),
        ("proxy_protocol", "proxies"): unsupported("is not supported"),
        "ocsp": unsupported("is not supported"),
        "default_sentinel": unsupported("is not supported"),
    }
)
