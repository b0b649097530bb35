"""What ``mongodb://...`` says: text in, a ``Place`` out, no I/O but a look at the certificates that it names.

Both drivers leave some options aside without a word, and one of them even ``tls=true``.  So the text is taken apart
here, with pymongo's own parts, and an option that will not be carried out is refused.  What goes wrong is said without
the text itself, because a password with a character that should have been escaped can turn up at any place in it.
"""

from __future__ import annotations

import re
import ssl
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import attrs

from brokerkit.errors import ConfigError, OperatorError, Words
from brokerkit.topics import has_empty_token, has_wildcard

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMES = ("mongodb://", "mongodb+srv://")
PREFIX = ":prefix="
DATABASE = "hpfeeds"
COLLECTION = "auth_key"
MISSING = "the packages for MongoDB are not installed: pip install 'brokerkit[mongo]'"

MECHANISMS = ("SCRAM-SHA-1", "SCRAM-SHA-256", "MONGODB-X509", "PLAIN")
# Nothing is ever written, so what they ask for is done already.
OF_WRITING = {"retryWrites", "w", "journal", "wTimeoutMS"}
TLS_FILES = ("tlsCAFile", "tlsCertificateKeyFile")
TLS_OPTIONS = (
    *TLS_FILES,
    "tlsCertificateKeyFilePassword",
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "tlsInsecure",
)
BY_BOTH = {"authSource", "authMechanism", "tls", "ssl", *TLS_FILES, *OF_WRITING}
BY_PYMONGO = {
    *TLS_OPTIONS,
    "appName",
    "connectTimeoutMS",
    "directConnection",
    "heartbeatFrequencyMS",
    "loadBalanced",
    "localThresholdMS",
    "maxConnecting",
    "maxIdleTimeMS",
    "maxPoolSize",
    "maxStalenessSeconds",
    "minPoolSize",
    "readConcernLevel",
    "readPreference",
    "readPreferenceTags",
    "replicaSet",
    "retryReads",
    "serverMonitoringMode",
    "serverSelectionTimeoutMS",
    "socketTimeoutMS",
    "timeoutMS",
    "waitQueueTimeoutMS",
}
OF_SRV = {"srvMaxHosts", "srvServiceName"}
_SPELLINGS = {name.lower(): name for name in BY_BOTH | BY_PYMONGO | OF_SRV}

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?|/[\x21-\x7e]+\.sock")
_DATABASE = re.compile(r"""[^\x00-\x20/\\."$*<>:|?@\x7f]{1,63}""")


class Refused(OperatorError):
    """The database could be asked and does not let the broker read: a wrong password, or not enough rights."""


@attrs.frozen
class Place:
    """Where the users are, and how they are to be reached.

    ``uri`` is what pymongo is told; ``name`` is for people and has no password in it.  ``mechanism`` is empty where
    server and driver may choose.  ``options`` has pymongo's spelling of each, and values of the right type.
    """

    uri: str = attrs.field(repr=False)
    name: str
    srv: bool
    hosts: tuple[tuple[str, int | None], ...]
    database: str
    username: str = ""
    password: str = attrs.field(default="", repr=False)
    mechanism: str = ""
    auth_source: str = ""
    options: dict[str, Any] = attrs.field(factory=dict, repr=False, eq=False)
    prefix: bytes = b""

    @property
    def tls(self) -> bool:
        """Whether the connection has to be TLS."""
        return bool(self.options.get("tls", self.options.get("ssl", self.srv)))

    @property
    def by_txmongo(self) -> bool:
        """Whether txmongo can do all of it; what it cannot do, pymongo does."""
        return (
            not self.srv
            and len(self.hosts) == 1
            and not self.hosts[0][0].startswith("/")
            and "%" not in self.hosts[0][0]
            and self.options.keys() <= BY_BOTH
            and self.mechanism in {"", "SCRAM-SHA-1"}
        )


def parse(text: str) -> Place:
    """Take ``mongodb://[user:password@]host[,host...][/database][?options][:prefix=TOPIC]`` apart.

    Raises ``ConfigError`` for what cannot be carried out, and ``OperatorError`` if pymongo is not installed.
    """
    uri, has_prefix, prefix = text.partition(PREFIX)
    scheme = next((one for one in SCHEMES if uri.startswith(one)), None)
    if scheme is None:
        found = Words("another scheme")
        raise ConfigError("configuration", "auth", found, "mongodb://HOST/DATABASE", "see twistd brokerkit --help-auth")
    where = f"{scheme}..."
    if has_prefix and (not prefix or has_empty_token(prefix.encode()) or has_wildcard(prefix.encode())):
        raise ConfigError(where, "prefix", prefix, "a topic, such as honeypot")
    rest, _, query = uri[len(scheme) :].partition("?")
    authority, _, path = rest.partition("/")
    if "@" in path or "@" in query:
        raise _badly_escaped(where)
    userinfo, has_user, names = authority.rpartition("@")
    hosts = _hosts(names, where, srv=scheme.endswith("+srv://"))
    database = _database(path, where)
    name = f"{scheme}{names}/{database or DATABASE}{has_prefix}{prefix}"
    username, password = _user(userinfo, name) if has_user else ("", "")
    options = dict(_options(query, name))
    place = Place(
        uri,
        name,
        scheme.endswith("+srv://"),
        hosts,
        database or DATABASE,
        username,
        password,
        _mechanism(options, name),
        options.get("authSource") or database or "admin",
        options,
        prefix.encode(),
    )
    _check_credentials(place)
    _check_tls(place)
    return place


def _badly_escaped(where: str) -> ConfigError:
    hint = "python3 -c 'import urllib.parse; print(urllib.parse.quote_plus(input()))' escapes what it is given"
    found = Words("a character of : / ? # [ ] @ % that is not escaped")
    return ConfigError(where, "user name and password", found, "each such character as %XX", hint)


def _user(userinfo: str, where: str) -> tuple[str, str]:
    parser = _parser()
    try:
        username, password = parser.parse_userinfo(userinfo)
    except Exception:  # whatever it says, it may say with the password
        raise _badly_escaped(where) from None
    if not username.isprintable():
        raise ConfigError(where, "user name", Words("a control character"), "a name that can be printed")
    return username, password


def _parser() -> Any:  # noqa: ANN401  a module
    try:
        from pymongo import uri_parser
    except ImportError:
        raise OperatorError(MISSING) from None
    return uri_parser


def _hosts(names: str, where: str, *, srv: bool) -> tuple[tuple[str, int | None], ...]:
    try:
        hosts = tuple(_parser().split_hosts(names, None if srv else 27017))
    except OperatorError:
        raise
    except Exception:  # an unescaped password may be what was taken for a host
        hosts = ()
    expected = "HOST alone, without a port" if srv else "HOST or HOST:PORT, with commas between several"
    if not hosts or not all(_HOST.fullmatch(host) for host, _ in hosts):
        raise ConfigError(where, "host", Words("something else" if names else "nothing"), expected)
    if srv and (len(hosts) > 1 or hosts[0][1] is not None):
        raise ConfigError(where, "host", Words("something else"), expected)
    return hosts


def _database(path: str, where: str) -> str:
    database = unquote(path)
    if database and not _DATABASE.fullmatch(database):
        raise ConfigError(where, "database", Words("something else"), f"a name of a database, such as {DATABASE}")
    return database


def _options(query: str, where: str) -> Iterator[tuple[str, Any]]:
    """Give each option in pymongo's spelling, with its value."""
    tags: list[Any] = []
    seen: set[str] = set()
    for pair in filter(None, re.split("[&;]", query)):
        key, equals, value = pair.partition("=")
        name = _SPELLINGS.get(key.lower())
        if name is None:
            raise _unknown(key, where)
        if not equals or not value:
            raise ConfigError(where, name, Words("nothing"), "a value")
        if name == "readPreferenceTags":
            tags += _value(name, value, where)
        elif name in seen:
            raise ConfigError(where, name, Words("it twice"), "it once")
        else:
            yield name, _value(name, value, where)
        seen.add(name)
    if tags:
        yield "readPreferenceTags", tags


def _unknown(key: str, where: str) -> ConfigError:
    shown = key if re.fullmatch("[A-Za-z]{1,60}", key) else "option"
    nearest = get_close_matches(key.lower(), _SPELLINGS, n=1)
    hint = f"did you mean {_SPELLINGS[nearest[0]]}?" if nearest else "leave it out"
    found = Words("an option that is not carried out")
    return ConfigError(where, shown, found, "options that docs/users.md has", hint)


def _value(name: str, value: str, where: str) -> Any:  # noqa: ANN401  a string, a number, a truth value, a list
    try:
        options = _parser().split_options(f"{name}={value}", validate=True, warn=False, normalize=False)
        return next(iter(options.values()))
    except Exception as error:
        shown = Words("something else") if name == "tlsCertificateKeyFilePassword" else value
        expected = str(error).partition(", was:")[0].partition(". Current value")[0]
        raise ConfigError(where, name, shown, "what pymongo takes", expected[:200]) from None


def _mechanism(options: dict[str, Any], where: str) -> str:
    mechanism = str(options.get("authMechanism", ""))
    if mechanism == "DEFAULT":
        return ""
    if mechanism and mechanism not in MECHANISMS:
        raise ConfigError(where, "authMechanism", mechanism, f"one of {', '.join(MECHANISMS)}")
    return mechanism


def _check_credentials(place: Place) -> None:
    by_certificate = place.mechanism == "MONGODB-X509"
    if place.username and not place.password and not by_certificate:
        raise ConfigError(
            place.name, "password", Words("nothing"), "one behind the user name, as in USER:PASSWORD@HOST"
        )
    for option in ("authMechanism", "authSource"):
        if option in place.options and not place.username and not by_certificate:
            raise ConfigError(place.name, option, Words("it without a user name"), "USER:PASSWORD@ before the host")
    if by_certificate and place.password:
        raise ConfigError(place.name, "password", Words("one"), "none beside authMechanism=MONGODB-X509")
    if by_certificate and not (place.tls and "tlsCertificateKeyFile" in place.options):
        raise ConfigError(
            place.name, "tlsCertificateKeyFile", Words("nothing"), "a certificate to log in with, and tls=true"
        )
    if place.mechanism == "PLAIN" and not place.tls:
        raise ConfigError(place.name, "authMechanism", "PLAIN", "tls=true beside it", "it sends the password as it is")


def _check_tls(place: Place) -> None:
    options = place.options
    if "tls" in options and "ssl" in options and options["tls"] != options["ssl"]:
        raise ConfigError(place.name, "ssl", options["ssl"], f"the same as tls, {options['tls']}")
    given = [name for name in TLS_OPTIONS if name in options]
    if given and not place.tls:
        raise ConfigError(place.name, given[0], Words("it without tls=true"), "both, or neither")
    loose = [name for name in ("tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames") if name in given]
    if "tlsInsecure" in given and loose:
        raise ConfigError(place.name, loose[0], Words("it beside tlsInsecure"), "one of them")
    check_files(place)


def check_files(place: Place) -> None:
    """Raise ``ConfigError`` where a certificate that the options name cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities, own = (place.options.get(name) for name in TLS_FILES)
    if authorities:
        _try(place, TLS_FILES[0], authorities, "a file of certificates", context.load_verify_locations, authorities)
    if own:
        # Without a callback, OpenSSL would ask the terminal for what opens an encrypted key.
        secret = place.options.get("tlsCertificateKeyFilePassword", "")
        expected = "a file with a certificate and its key"
        _try(place, TLS_FILES[1], own, expected, context.load_cert_chain, own, None, lambda: secret)


def _try(place: Place, key: str, path: str, expected: str, load: Any, *arguments: Any) -> None:  # noqa: ANN401
    try:
        load(*arguments)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError, too
        reason = (not isinstance(error, ssl.SSLError) and getattr(error, "strerror", None)) or "what cannot be used"
        raise ConfigError(place.name, key, path, expected, str(reason)) from None
