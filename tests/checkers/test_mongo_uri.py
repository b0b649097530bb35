"""What a URI of MongoDB says: hosts, database, credentials, options, and what is refused."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.checkers.mongo_uri import parse
from brokerkit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hush!hush"


def refused(text: str) -> str:
    """Give the message with which a URI is refused."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_hpfeeds_spelling() -> None:
    """What hpfeeds documents is understood, and the name of the place has no password."""
    place = parse("mongodb://admin:admin@127.0.0.1:27017/hpfeeds")
    assert (place.hosts, place.database) == ((("127.0.0.1", 27017),), "hpfeeds")
    assert (place.username, place.password, place.auth_source) == ("admin", "admin", "hpfeeds")
    assert place.name == "mongodb://127.0.0.1:27017/hpfeeds"
    assert place.by_txmongo
    assert not place.tls


@pytest.mark.parametrize(
    "text", ["mongodb://db1", "mongodb://db1/", "mongodb://db1?tls=false", "mongodb://db1/?tls=false"]
)
def test_default_database(text: str) -> None:
    """Without a database it is hpfeeds, and the login is then held against admin, as MongoDB has it."""
    place = parse(text)
    assert (place.database, place.auth_source, place.hosts) == ("hpfeeds", "admin", (("db1", 27017),))


def test_auth_source_is_honoured() -> None:
    """The database of the login is another one than that of the users, if it is said so."""
    place = parse("mongodb://u:p@db1/users?authSource=admin")
    assert (place.database, place.auth_source) == ("users", "admin")


def test_escapes_and_prefix() -> None:
    """User name and password are unescaped, and what stands behind the URI is the prefix."""
    place = parse("mongodb://u%40x:p%3A%2F%3F%25@db1/users:prefix=honeypot.a")
    assert (place.username, place.password, place.prefix) == ("u@x", "p:/?%", b"honeypot.a")
    assert place.uri == "mongodb://u%40x:p%3A%2F%3F%25@db1/users"
    assert place.name == "mongodb://db1/users:prefix=honeypot.a"


@pytest.mark.parametrize(
    "text",
    [
        "mongodb+srv://u:p@cluster.example.net/users?retryWrites=true&w=majority",
        "mongodb://db1,db2:27018,[::1]:27019/users",
        "mongodb://db1/users?replicaSet=rs0",
        "mongodb://u:p@db1/users?authMechanism=SCRAM-SHA-256",
        "mongodb://db1/users?tls=true&tlsAllowInvalidCertificates=true",
        "mongodb://db1/users?tls=true&tlsInsecure=true",
        "mongodb://db1/users?directConnection=true",
        "mongodb://db1/users?readPreference=secondary&readPreferenceTags=a:b&readPreferenceTags=c:d",
        "mongodb://%2Frun%2Fmongodb.sock/users",
    ],
)
def test_what_needs_pymongo(text: str) -> None:
    """What txmongo cannot do, or would leave out in silence, is pymongo's."""
    assert not parse(text).by_txmongo


@pytest.mark.parametrize(
    "text",
    [
        "mongodb://u:p@db1/users?authMechanism=SCRAM-SHA-1&authSource=admin",
        "mongodb://u:p@db1/users?authMechanism=DEFAULT",
        "mongodb://db1/users?tls=true&retryWrites=true&w=majority&journal=true",
        "mongodb://[::1]:27017/users?ssl=true",
    ],
)
def test_what_txmongo_can_do(text: str) -> None:
    """One host, TLS and SCRAM-SHA-1 are txmongo's; what is about writing asks for nothing."""
    assert parse(text).by_txmongo


def test_tls() -> None:
    """TLS is on when asked for in either spelling, and by mongodb+srv unless it is put off."""
    assert parse("mongodb://db1/?tls=true").tls
    assert parse("mongodb://db1/?ssl=true").tls
    assert parse("mongodb://db1/?TLS=true").tls
    assert parse("mongodb+srv://db.example.net/").tls
    assert not parse("mongodb+srv://db.example.net/?tls=false").tls


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("mongo://db1/users", "auth", "mongodb://HOST/DATABASE"),
        ("mongodb://db1/users?compressors=zlib", "compressors", "not carried out"),
        ("mongodb://db1/users?proxyHost=x", "proxyHost", "not carried out"),
        ("mongodb://db1/users?tlss=true", "tlss", "did you mean tls?"),
        ("mongodb://db1/users?tls=yes", "tls", "'true' or 'false'"),
        ("mongodb://db1/users?tls=true&tls=false", "tls", "twice"),
        ("mongodb://db1/users?tls=true&ssl=false", "ssl", "the same as tls"),
        ("mongodb://db1/users?tlsAllowInvalidCertificates=true", "tlsAllowInvalidCertificates", "without tls=true"),
        ("mongodb://db1/users?tls", "tls", "nothing"),
        ("mongodb://db1/users?authSource=admin", "authSource", "without a user name"),
        ("mongodb://u:p@db1/users?authMechanism=GSSAPI", "authMechanism", "GSSAPI"),
        ("mongodb://u:p@db1/users?authMechanism=PLAIN", "authMechanism", "tls=true"),
        ("mongodb://u@db1/users", "password", "USER:PASSWORD@HOST"),
        ("mongodb://db1/a.b", "database", "a name of a database"),
        ("mongodb://db1/a%20b", "database", "a name of a database"),
        ("mongodb://", "host", "HOST"),
        ("mongodb:///users", "host", "HOST"),
        ("mongodb://db1,,db2/users", "host", "HOST"),
        ("mongodb://db1:99999/users", "host", "HOST"),
        ("mongodb://d b/users", "host", "HOST"),
        ("mongodb+srv://a.example.net,b.example.net/", "host", "alone"),
        ("mongodb+srv://a.example.net:27017/", "host", "without a port"),
        ("mongodb://db1/users:prefix=", "prefix", "a topic"),
        ("mongodb://db1/users:prefix=a.>", "prefix", "a topic"),
        ("mongodb://db1/users?connectTimeoutMS=soon", "connectTimeoutMS", "soon"),
        ("mongodb://u:p@db1/?tls=true&authMechanism=MONGODB-X509", "password", "none"),
        ("mongodb://db1/?tls=true&authMechanism=MONGODB-X509", "tlsCertificateKeyFile", "certificate"),
    ],
)
def test_what_is_refused(text: str, key: str, says: str) -> None:
    """What cannot be carried out is refused with one line that names it."""
    message = refused(text)
    assert f": {key}: " in message
    assert says in message


@pytest.mark.parametrize(
    "text",
    [
        f"mongodb://u:{SECRET}/x@db1/users",
        f"mongodb://u:{SECRET}?x@db1/users",
        f"mongodb://u:{SECRET}:x@db1/users",
        f"mongodb://u:{SECRET}@x@db1/users",
        f"mongodb://u:{SECRET}%zz@db1/users",
        f"mongodb://u:{SECRET}/users",
        f"mongodb://:{SECRET}@db1/users",
        f"mongodb://u:{SECRET}@db1/users?{SECRET}=1",
        f"mongodb://u:{SECRET}@db 1/users",
        f"mongodb://u:{SECRET}@db1/users?tls=maybe",
        f"mongodb+srv://u:{SECRET}@db1:1/users",
    ],
)
def test_no_password_in_a_message(text: str) -> None:
    """Wherever a password that is not escaped turns up, the message does not repeat it."""
    assert SECRET not in refused(text)


def test_no_password_in_a_repr() -> None:
    """A place that is printed keeps the password to itself."""
    assert SECRET not in repr(parse(f"mongodb://u:{SECRET}@db1/users"))


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    """A file that is not there, or holds something else, is named at once, and no key's password is asked for."""
    other = tmp_path / "other.pem"
    other.write_text("something else")
    for option in ("tlsCAFile", "tlsCertificateKeyFile"):
        assert f": {option}: " in refused(f"mongodb://db1/?tls=true&{option}={other}")
        assert str(tmp_path / "none.pem") in refused(f"mongodb://db1/?tls=true&{option}={tmp_path}/none.pem")


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """Whatever stands behind the scheme is a place or a clear refusal, never another error."""
    for scheme in ("mongodb://", "mongodb+srv://", "mongodb://u:p@db1/x?", ""):
        try:
            said = parse(scheme + text).name
        except ConfigError as error:
            said = str(error)
        assert said.isprintable()


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_any_credentials_escaped(username: str, password: str) -> None:
    """Whatever they are made of, escaped credentials come out as they went in."""
    try:
        place = parse(
            f"mongodb://{quote_plus(username, errors='replace')}:{quote_plus(password, errors='replace')}@db1/"
        )
    except ConfigError:
        assert not username.isprintable()
        return
    assert (place.username, place.password) == (username, password)


@given(st.text(string.ascii_letters, min_size=1, max_size=12))
def test_password_of_letters_is_never_shown(password: str) -> None:
    """A place's name and its text have no password in them."""
    place = parse(f"mongodb://u:=={password}==@db1/users")
    assert f"=={password}==" not in place.name + repr(place)
