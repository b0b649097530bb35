"""One of brokerkit's own users as it is written down: what is taken, what is refused and how."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.allowance import Allowance
from brokerkit.checkers.entry import KEYS, Entry, read, read_all
from brokerkit.errors import ConfigError
from brokerkit.grants import PUBLISH, SUBSCRIBE, Rule

NKEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
ARGON2 = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$8hWDVRNnbIrCn1cRtgpAQIUmN1cAJXtQAFgPFJ2sWlo"
BCRYPT = "$2b$12$" + "a" * 53
ALL = {
    "name": "ann",
    "secret": "hush",
    "token": "t0ken",
    "nkey": NKEY,
    "certificate": "ann.example",
    "owner": "Ann",
    "tenant": "red",
    "publish": ["a.>"],
    "publish_deny": ["a.b"],
    "subscribe": [">"],
    "subscribe_deny": ["x.*"],
    "connections": 3,
    "subscriptions": 4,
    "payload": 5,
    "rate": 1.5,
    "valid_until": "2027-01-31T12:00:00Z",
}


def refused(fields: object) -> str:
    """Give the one line that refuses a table."""
    with pytest.raises(ConfigError) as caught:
        read(fields, "broker.toml", "users[1]")
    text = str(caught.value)
    assert "\n" not in text
    return text


def entry(**fields: Any) -> Entry:
    """Give a user with a secret and these fields."""
    return read({"name": "ann", "secret": "hush", **fields}, "broker.toml", "users[1]")


def test_all_that_can_be_said() -> None:
    """Each key ends where it counts."""
    known = read(ALL, "broker.toml", "users[1]").known("somewhere")
    user = known.user
    assert (user.name, user.source, user.owner, user.tenant) == (b"ann", "somewhere", "Ann", "red")
    assert (known.secret, known.token, known.public_keys, known.certificates) == (
        b"hush",
        b"t0ken",
        (NKEY,),
        ("ann.example",),
    )
    assert user.allowance == Allowance(3, 4, 5, 1.5)
    assert user.valid_until == datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp()
    permits = user.grants.permits
    assert permits(PUBLISH, b"a.c")
    assert not permits(PUBLISH, b"a.b")
    assert permits(SUBSCRIBE, b"anything")
    assert not permits(SUBSCRIBE, b"x.y")


def test_nothing_said_is_nothing_allowed() -> None:
    """A user without lists may do nothing, and has no limits."""
    user = entry().known("").user
    assert not user.grants.permits(PUBLISH, b"a")
    assert not user.grants.permits(SUBSCRIBE, b"a")
    assert user.allowance == Allowance()
    assert user.valid_until == 0


def test_fields_are_read_back() -> None:
    """What is stored is what was read, through JSON too."""
    one = read(ALL, "broker.toml", "users[1]")
    assert one.fields() == ALL
    assert read(json.loads(json.dumps(one.fields())), "elsewhere") == one


def test_secrets_can_be_left_out() -> None:
    """Without secrets it is said that there are some, and not which."""
    one = read(ALL, "broker.toml", "users[1]")
    shown = one.fields(secrets=False)
    assert (shown["secret"], shown["token"]) == (True, True)
    assert "hush" not in repr(one)
    assert "t0ken" not in repr(one)


@pytest.mark.parametrize("hashed", [ARGON2, BCRYPT])
def test_a_hash(hashed: str) -> None:
    """Argon2 and bcrypt hashes are taken in place of a secret."""
    known = read({"name": "ann", "password_hash": hashed}, "broker.toml").known("")
    assert (known.password_hash, known.secret) == (hashed, b"")


def test_toml_moments() -> None:
    """TOML's own moments are taken as well as text."""
    for text in ("valid_until = 2027-01-31T13:00:00+01:00", "valid_until = '2027-01-31T12:00:00Z'"):
        moment = entry(**tomllib.loads(text)).known("").user.valid_until
        assert moment == datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([], "users[1]: found a list, expected a table of one user"),
        ({"secret": "x"}, "users[1].name: found nothing"),
        ({"name": "", "secret": "x"}, "users[1].name: found ''"),
        ({"name": "é" * 128, "secret": "x"}, "a name of 256 bytes"),
        ({"name": "a\nb", "secret": "x"}, "without control characters"),
        ({"name": 5, "secret": "x"}, "users[1].name: found a number, expected a string"),
        ({"name": "ann"}, "one of secret, password_hash, token, token_hash, nkey, certificate"),
        ({"name": "ann", "secret": ""}, "users[1].secret: found nothing"),
        ({"name": "ann", "sceret": "x"}, "users[1].sceret: found an unknown key"),
        ({"name": "ann", "sceret": "x"}, "did you mean secret?"),
        ({"name": "ann", "secret": ["x"]}, "users[1].secret: found a list, expected a string"),
        ({"name": "ann", "secret": "x" * 5000}, "found 5000 bytes, expected at most 4096"),
        ({"name": "ann", "secret": "x", "password_hash": BCRYPT}, "found one beside a secret"),
        ({"name": "ann", "password_hash": "md5:abc"}, "users[1].password_hash: found something else"),
        ({"name": "ann", "nkey": NKEY[:-1] + "A"}, "users[1].nkey: found something else"),
        ({"name": "ann", "nkey": "SU" + NKEY}, "the public nkey of a user"),
        ({"name": "ann", "secret": "x", "publish": "a"}, "users[1].publish: found a string, expected a list"),
        ({"name": "ann", "secret": "x", "publish": ["a", 1]}, "users[1].publish[1]: found a number"),
        ({"name": "ann", "secret": "x", "subscribe_deny": ["a..b"]}, "users[1].subscribe_deny[0]: found 'a..b'"),
        ({"name": "ann", "secret": "x", "connections": True}, "found true or false, expected a whole number"),
        ({"name": "ann", "secret": "x", "payload": -1}, "users[1].payload: found -1"),
        ({"name": "ann", "secret": "x", "subscriptions": 2**63}, "users[1].subscriptions"),
        ({"name": "ann", "secret": "x", "rate": float("inf")}, "users[1].rate: found inf"),
        ({"name": "ann", "secret": "x", "rate": float("nan")}, "users[1].rate: found nan"),
        ({"name": "ann", "secret": "x", "valid_until": "soon"}, "users[1].valid_until: found 'soon'"),
        ({"name": "ann", "secret": "x", "valid_until": "2027-01-31"}, "without a zone"),
        ({"name": "ann", "secret": "x", "valid_until": date(2027, 1, 31)}, "without a zone"),
        ({"name": "ann", "secret": "x", "valid_until": "1970-01-01T00:00:00Z"}, "a moment after 1970"),
        ({"name": "ann", "secret": "x", "valid_until": 5}, "users[1].valid_until: found a number"),
        ({"name": "\udc80", "secret": "x"}, "half of a surrogate pair"),
    ],
)
def test_what_is_refused(fields: object, words: str) -> None:
    """Every mistake is one line with file, key, what was found and what was expected."""
    text = refused(fields)
    assert text.startswith("broker.toml: users[1]")
    assert words in text


@pytest.mark.parametrize("key", ["secret", "token", "password_hash", "nkey"])
def test_secrets_are_not_in_messages(key: str) -> None:
    """A secret in a place where it does not fit is not repeated, not even a seed in place of an nkey."""
    for value in (["hush"], {"x": "hush"}, "hush" * 2000, "hush\udc80"):
        assert "hush" not in refused({"name": "ann", key: value})


def test_where_a_rule_stands() -> None:
    """A rule is found in the list that it stands in; a denial before what it denies."""
    one = read(ALL, "broker.toml", "users[1]", "broker.toml:14: users[1]")
    assert one.where(PUBLISH, Rule(b"a.>")) == "broker.toml:14: users[1].publish[0]"
    assert one.where(PUBLISH, Rule(b"a.b")) == "broker.toml:14: users[1].publish_deny[0]"
    assert one.where(SUBSCRIBE, Rule(b"x.*")) == "broker.toml:14: users[1].subscribe_deny[0]"
    assert one.where(PUBLISH, None) == "broker.toml:14: users[1]"
    assert one.where("fetch", Rule(b"a")) == "broker.toml:14: users[1]"


@pytest.mark.parametrize(
    ("key", "value"), [("name", "ann"), ("token", "t"), ("nkey", NKEY), ("certificate", "ann.example")]
)
def test_two_users_with_the_same(key: str, value: str) -> None:
    """What a login finds its user by is one user's alone."""
    tables = [{"name": "ann", "secret": "a", key: value}, {"name": "bob", "secret": "b", key: value}]
    with pytest.raises(ConfigError) as caught:
        read_all(tables, "broker.toml")
    assert f"broker.toml: users[1].{key}" in str(caught.value)
    assert "users[0]" in str(caught.value)


def test_a_certificate_with_the_name_of_another() -> None:
    """A certificate that would be two users', by the name of one and by what is said of the other, is refused."""
    ann, bob = {"name": "ann", "secret": "x"}, {"name": "bob", "certificate": "ann"}
    for tables in ([ann, bob], [bob, ann]):
        with pytest.raises(
            ConfigError, match=r"users\[\d\]\.certificate: found 'ann', expected no name of users\[\d\]"
        ):
            read_all(tables, "F")
    assert len(read_all([{**ann, "certificate": "ann"}], "F")) == 1


def test_tables_that_are_none() -> None:
    """A table in place of tables is refused."""
    with pytest.raises(ConfigError, match=r"headed \[\[users\]\]"):
        read_all({"name": "ann"}, "broker.toml")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([NKEY, BCRYPT]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), JSON, max_size=6) | JSON)
def test_any_table(fields: object) -> None:
    """Whatever a table holds, it is a user that can be stored and read back, or one ConfigError."""
    try:
        one = read(fields, "broker.toml")
    except ConfigError:
        return
    one.known("")
    assert read(json.loads(json.dumps(one.fields())), "broker.toml") == one
