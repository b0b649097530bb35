"""Reading JWTs of NATS: only what is signed and of the right types counts, and nothing else does any harm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.jwts import claims
from brokerkit.jwts.authority import Authority
from brokerkit.jwts.decode import decode
from brokerkit.jwts.fields import BadJwt, Fields
from brokerkit.jwts.hours import check_address, until
from brokerkit.jwts.resolvers import Directory, Preloaded
from tests import tokens
from tests.tokens import Key

if TYPE_CHECKING:
    from pathlib import Path

OPERATOR, SIGNER, ACCOUNT, USER = Key("O", "o"), Key("O", "s"), Key("A", "a"), Key("U", "u")
GOOD = tokens.user(ACCOUNT, USER)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "pub",
    "sub",
    "resp",
    "src",
    "times",
    "tags",
    "subs",
    "limits",
    "signing_keys",
    "imports",
    "exports",
    "mappings",
)
KINDS = (claims.operator, claims.account, claims.user)


@given(st.text() | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True))
def test_any_text(text: str) -> None:
    """Whatever is no token is refused, and nothing else happens."""
    for read in KINDS:
        with pytest.raises(BadJwt):
            read(text)


@given(st.integers(0, len(GOOD) - 1), st.characters(codec="utf-8"))
def test_one_letter(place: int, letter: str) -> None:
    """A token in which one letter is another is none, unless that letter stands for nothing."""
    changed = GOOD[:place] + letter + GOOD[place + 1 :]
    try:
        read = claims.user(changed)
    except BadJwt:
        return
    assert read.key == USER.public
    assert place == len(GOOD) - 1 or changed == GOOD  # the last letter has bits to spare


@given(JSON, JSON)
def test_any_claims(header: Any, body: Any) -> None:
    """Whatever is signed, it is a token or it is refused."""
    for read in KINDS:
        with pytest.raises(BadJwt):
            read(tokens.encode(body, ACCOUNT, header=header))


@given(st.sampled_from(["operator", "account", "user"]), st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_fields(kind: str, nats: dict[str, Any]) -> None:
    """With any values in it a token is read, or refused; what an account signs is never somebody else's."""
    issuer, subject = {"operator": (OPERATOR, OPERATOR), "account": (OPERATOR, ACCOUNT), "user": (ACCOUNT, USER)}[kind]
    text = tokens.encode(tokens.claims(kind, issuer, subject, nats), issuer)
    try:
        read: Any = getattr(claims, kind)(text)
    except BadJwt:
        return
    assert read.key == subject.public


def test_what_is_read() -> None:
    """All that a user's token says is there."""
    user = claims.user(
        tokens.user(
            ACCOUNT,
            USER,
            others={"exp": 7, "nbf": 3, "name": "ann"},
            pub={"allow": ["a"], "deny": ["b"]},
            sub={"allow": ["c q"]},
            resp={"max": 3, "ttl": 2_000_000_000},
            src=["10.0.0.0/8"],
            times=[{"start": "01:00:00", "end": "02:00:00"}],
            times_location="Europe/Berlin",
            allowed_connection_types=["websocket"],
            subs=5,
            payload=6,
            bearer_token=True,
        )
    )
    assert (user.key, user.name, user.account) == (USER.public, "ann", ACCOUNT.public)
    assert (user.token.expires, user.token.not_before) == (7, 3)
    terms = user.terms
    assert (terms.permissions.publish.allow, terms.permissions.publish.deny) == (("a",), ("b",))
    assert terms.permissions.subscribe.allow == ("c q",)
    assert terms.permissions.responses is not None
    assert (terms.permissions.responses.most, terms.permissions.responses.seconds) == (3, 2.0)
    assert (terms.sources, terms.hours, terms.zone) == (("10.0.0.0/8",), (("01:00:00", "02:00:00"),), "Europe/Berlin")
    assert (terms.kinds, terms.subscriptions, terms.payload, terms.bearer) == (("WEBSOCKET",), 5, 6, True)


def test_secrets_are_not_shown() -> None:
    """A token, which may be a bearer's, is not in the text of what was read of it."""
    user = claims.user(GOOD)
    assert GOOD not in repr(user)
    assert GOOD.split(".")[2] not in repr(user)
    assert GOOD not in repr(decode(GOOD, "user"))


@pytest.mark.parametrize(
    ("networks", "address", "fits"),
    [
        ((), "", True),
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "11.1.2.3", False),
        (("10.0.0.5/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "", False),
        (("10.0.0.0/8",), "::1", False),
        (("10.0.0.0/8", "::/0"), "::1", True),
        (("all",), "10.1.2.3", False),
    ],
)
def test_addresses(networks: tuple[str, ...], address: str, fits: bool) -> None:
    """An address has to be in one of the networks, if there are any; who has none is in no network."""
    if fits:
        check_address(networks, address)
    else:
        with pytest.raises(BadJwt):
            check_address(networks, address)


@pytest.mark.parametrize(
    ("now", "end"),
    [(8 * 3600, None), (9 * 3600, 10 * 3600), (22 * 3600, 30 * 3600), (29 * 3600, 30 * 3600), (30 * 3600, None)],
)
def test_hours(now: int, end: int | None) -> None:
    """Within a span of hours one may be there until it ends, also over midnight; outside of all one may not."""
    spans = (("09:00:00", "10:00:00"), ("21:30:00", "06:00:00"))
    if end is None:
        with pytest.raises(BadJwt):
            until(spans, "UTC", now)
    else:
        assert until(spans, "UTC", now) == end


def test_strict() -> None:
    """An operator that is strict vouches by signing keys alone, and its accounts have to do so, too."""
    other, signer = Key("A", "b"), Key("A", "signer")
    strict = claims.operator(tokens.operator(OPERATOR, signing_keys=[SIGNER.public], strict_signing_key_usage=True))
    resolver = Preloaded(
        {
            ACCOUNT.public: tokens.account(SIGNER, ACCOUNT, signing_keys=[signer.public]),
            other.public: tokens.account(OPERATOR, other),
        }
    )
    authority = Authority([strict], resolver)
    authority.judge(claims.user(tokens.user(signer, USER, issuer_account=ACCOUNT.public)), 5, "")
    for issuer in (ACCOUNT, other):
        with pytest.raises(BadJwt):
            authority.judge(claims.user(tokens.user(issuer, USER)), 5, "")


def test_pinned() -> None:
    """Where accounts are pinned, users of others are not let in."""
    token = {ACCOUNT.public: tokens.account(OPERATOR, ACCOUNT)}
    user = claims.user(GOOD)
    Authority([], Preloaded(token), keys=[OPERATOR.public], pinned=[ACCOUNT.public]).judge(user, 5, "")
    with pytest.raises(BadJwt, match="pinned"):
        Authority([], Preloaded(token), keys=[OPERATOR.public], pinned=[Key("A", "b").public]).judge(user, 5, "")


def test_a_directory(tmp_path: Path) -> None:
    """Accounts are files called by their keys, there or in directories by the last two letters; others are not read."""
    first, second = Key("A", "1").public, Key("A", "2").public
    (tmp_path / f"{first}.jwt").write_text("one\n")
    (tmp_path / second[-2:]).mkdir()
    (tmp_path / second[-2:] / f"{second}.jwt").write_text("two")
    (tmp_path / "other.jwt").write_text("x")
    directory = Directory(str(tmp_path))
    assert (directory.fetch(first), directory.fetch(second)) == ("one", "two")
    assert directory.accounts() == sorted([first, second])
    for name in ("other", "../x", "", first.lower()):
        assert directory.fetch(name) is None
        assert directory.state(name) is None
    before = directory.state(first)
    (tmp_path / f"{first}.jwt").write_text("three")
    assert directory.state(first) != before


def test_what_is_no_file(tmp_path: Path) -> None:
    """A directory, or nothing, in the place of an account's file is no account."""
    key = Key("A", "1").public
    directory = Directory(str(tmp_path))
    assert directory.fetch(key) is None
    (tmp_path / f"{key}.jwt").mkdir()
    assert directory.fetch(key) is None


@given(JSON)
def test_fields(value: Any) -> None:
    """A value of another type than expected is refused, one of the right type is given as it is."""
    fields = Fields(json.loads(json.dumps({"x": value})))
    readers = (fields.text, fields.number, fields.flag, fields.items, fields.table, fields.texts)
    for read in readers:
        try:
            got = read("x")
        except BadJwt:
            continue
        assert value is None or read == fields.table or got == (tuple(value) if read == fields.texts else value)
