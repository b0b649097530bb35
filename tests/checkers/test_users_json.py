"""The format of users.json."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.credentials import UsernamePassword

from brokerkit.checkers.known import fits
from brokerkit.checkers.users_json import JsonTable, _members, parse, steps
from brokerkit.credentials import Token
from brokerkit.errors import ConfigError
from brokerkit.grants import PUBLISH, SUBSCRIBE

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/etc/users.json"
ANN = {"owner": "Ann", "secret": "hush", "pubchans": ["a", "b.*"], "subchans": []}


def refusal(content: object) -> str:
    """Give the message that refuses the content: bytes, or what becomes JSON."""
    with pytest.raises(ConfigError) as error:
        parse(content if isinstance(content, bytes) else json.dumps(content).encode(), PATH)
    assert "hush" not in str(error.value)
    return str(error.value)


def users(content: object, prefix: bytes = b"") -> JsonTable:
    """Give the users in what becomes JSON."""
    return parse(json.dumps(content).encode(), PATH, prefix)


def found(known: JsonTable, credentials: Any) -> Any:
    """Give the user whom the credentials name and fit."""
    one = known.find(credentials)
    assert one is not None
    assert fits(one, credentials)
    return one.user


def login(known: JsonTable, name: str = "ann") -> Any:
    """Log in with the secret of ``ANN``."""
    return found(known, UsernamePassword(name.encode(), b"hush"))


def test_user_of_hpfeeds() -> None:
    """An entry as hpfeeds has it is a user with literal channels."""
    user = login(users({"ann": ANN}))
    assert (user.name, user.source, user.owner) == (b"ann", "json:/etc/users.json", "Ann")
    assert user.grants.permits(PUBLISH, b"a")
    assert user.grants.permits(PUBLISH, b"b.*", literal=True)
    assert not user.grants.permits(PUBLISH, b"b.c")
    assert not user.grants.permits(SUBSCRIBE, b"a")


def test_no_users() -> None:
    """A file may be without users."""
    assert len(users({})) == 0


@pytest.mark.parametrize("ours", [{"publish": ["a.*"]}, {"subscribe": [">"]}, {"publish": [], "subscribe": []}])
def test_our_keys_need_less(ours: dict[str, Any]) -> None:
    """Where our own lists stand, hpfeeds' lists and the owner may be left out."""
    user = login(users({"ann": {"secret": "hush", **ours}}))
    assert user.grants.permits(PUBLISH, b"a.b") == bool(ours.get("publish"))
    assert user.grants.permits(SUBSCRIBE, b"a.>", literal=False) == bool(ours.get("subscribe"))
    assert user.owner == ""


def test_both_kinds_of_lists() -> None:
    """Literal names and patterns add up."""
    user = login(users({"ann": {**ANN, "publish": ["c.>"]}}))
    assert user.grants.permits(PUBLISH, b"a")
    assert user.grants.permits(PUBLISH, b"c.d.e")


def test_token() -> None:
    """A token is enough to log in; then a secret is not needed."""
    known = users({"ann": {**ANN, "token": "t1"}, "bob": {"token": "t2", "publish": ["a"]}})
    assert found(known, Token(b"t1")).name == b"ann"
    assert found(known, Token(b"t2")).name == b"bob"


def test_unknown_keys_are_left_alone() -> None:
    """What neither hpfeeds nor we know may stand in an entry, whatever it is."""
    assert login(users({"ann": {**ANN, "comment": {"x": [1, None, 2.5]}}}))


def test_owner_may_be_null() -> None:
    """No owner is an empty owner."""
    assert login(users({"ann": {**ANN, "owner": None}})).owner == ""


def test_byte_order_mark() -> None:
    """A byte order mark at the start, as Windows editors put it, is no part of the file."""
    assert login(parse(b"\xef\xbb\xbf" + json.dumps({"ann": ANN}).encode(), PATH))


def test_prefix() -> None:
    """With a prefix, every name and pattern of the file lies under it."""
    entry = {**ANN, "publish": ["c.*"], "subscribe": [">"], "subchans": ["x"]}
    grants = login(users({"ann": entry}, b"honeypot")).grants
    assert all(grants.permits(PUBLISH, name) for name in (b"honeypot.a", b"honeypot.b.*", b"honeypot.c.d"))
    assert not any(grants.permits(PUBLISH, name) for name in (b"a", b"b.*", b"c.d", b"honeypot.x"))
    assert grants.permits(SUBSCRIBE, b"honeypot.>", literal=False)
    assert not grants.permits(SUBSCRIBE, b">", literal=False)
    assert not grants.permits(SUBSCRIBE, b"x")


@pytest.mark.parametrize("key", ANN)
def test_hpfeeds_keys_are_mandatory(key: str) -> None:
    """An entry without one of the four keys is refused, with its name and the key's."""
    entry = {name: value for name, value in ANN.items() if name != key}
    assert refusal({"ann": entry, "bob": ANN}).startswith(
        f"{PATH}:1: 'ann': {key}: found nothing, expected each of owner"
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("hush", "'ann': found a string, expected an object"),
        (["hush"], "'ann': found a list, expected an object"),
        ({**ANN, "secret": 5}, "'ann': secret: found a number, expected a string"),
        ({**ANN, "secret": None}, "'ann': secret: found null, expected a string"),
        ({**ANN, "secret": "\ud800hush"}, "'ann': secret: found half of a surrogate pair, expected Unicode text"),
        ({**ANN, "owner": True}, "'ann': owner: found true or false, expected a string"),
        ({**ANN, "token": ["hush"]}, "'ann': token: found a list, expected a string"),
        ({**ANN, "pubchans": "hush"}, "'ann': pubchans: found a string, expected a list of strings"),
        ({**ANN, "pubchans": None}, "'ann': pubchans: found null, expected a list of strings"),
        ({**ANN, "subchans": ["a", 1.5]}, "'ann': subchans[1]: found a number, expected a string"),
        ({**ANN, "subchans": [{}]}, "'ann': subchans[0]: found an object, expected a string"),
        ({**ANN, "publish": {}}, "'ann': publish: found an object, expected a list of strings"),
        (
            {**ANN, "publish": ["a", ">.a"]},
            "'ann': publish[1]: found '>.a', expected a pattern such as a.b, a.* or a.>",
        ),
        ({**ANN, "subscribe": [""]}, "'ann': subscribe[0]: found '', expected a pattern such as a.b, a.* or a.>"),
        ({"publish": ["a"]}, "'ann': secret: found nothing, expected each of secret"),
    ],
)
def test_bad_entries(entry: object, message: str) -> None:
    """One bad entry refuses the file, and says where, what, and what was expected; never the value of a secret."""
    assert refusal({"bob": ANN, "ann": entry}) == f"{PATH}:1: {message}"


def test_the_line_of_a_bad_entry() -> None:
    """The line is that of the key that is meant, or of the user where there is no such key."""
    good = '"bob": ' + json.dumps(ANN)
    for fields, number in {
        '"publish": [], "secret": "hush",\n  "owner": 5': 4,
        '"publish": [], "secret": "hush",\n  "pubchans": ["a",\n  7]': 4,
        '"secret": "hush"': 2,
        '"owner": "Ann",\n "owner": "Ann"': 3,
    }.items():
        content = f'{{{good},\n"ann": {{\n  {fields}\n}}}}'
        assert refusal(content.encode()).startswith(f"{PATH}:{number}: 'ann'"), fields


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1, column 1: found something else, expected JSON (Expecting value)"),
        (b'{"ann": {"secret": "hush",}}', "line 1, column 26: found something else, expected JSON (a comma with"),
        (b'{"ann": {"pubchans": [1,\n]}}', "line 1, column 24: found something else, expected JSON (a comma with"),
        (b'{"ann": {"token": "t", "publish": []},\n}', "line 1, column 38: found something else, expected JSON"),
        (b'{"ann": "hush', "line 1, column 9: found something else, expected JSON"),
        (b'{"\xff": 1}', "file: found other bytes at 2, expected UTF-8"),
        (b"[" * 200_000, "file: found what cannot be read, expected JSON (RecursionError)"),
        (b"[" + b"9" * 10_000 + b"]", "file: found what cannot be read, expected JSON (ValueError)"),
        (b"[]", "file: found a list, expected an object with a member for each user"),
        (b"null", "file: found null, expected an object"),
        (b'{"ann": {"token": "t", "publish": []}, "ann": {}}', "'ann': found two users of this name, expected one"),
        (b'{"ann": {"secret": "hush", "secret": "hush"}}', "'ann': 'secret': found this key twice, expected it once"),
        (b'{"\\ud800": {}}', "'\\ud800': found half of a surrogate pair, expected Unicode text"),
        (b'{"%b": {}}' % (b"x" * 256), f"'{'x' * 256}': found a name of 256 bytes, expected at most 255"),
    ],
)
def test_bad_files(content: bytes, message: str) -> None:
    """What is not JSON, or not an object with one member for each user, is refused with its place."""
    assert refusal(content).replace(f"{PATH}:1: ", f"{PATH}: ").startswith(f"{PATH}: {message}")


def test_names_that_are_not_utf8() -> None:
    """Some sensors send Latin-1: a byte that is not UTF-8 is written as Python writes it, in idents and channels."""
    table = parse(b'{"j\\udcfcrg": {"owner": "", "secret": "x", "pubchans": ["caf\\udce9"], "subchans": []}}', PATH)
    known = table.find(UsernamePassword(b"j\xfcrg", b"x"))
    assert known is not None
    assert known.user.name == b"j\xfcrg"
    assert [known.user.grants.permits("publish", name) for name in (b"caf\xe9", b"caf\xc3\xa9")] == [True, False]


def test_shared_token() -> None:
    """A token that two users have is refused: it would not say which of them it is."""
    both = {"ann": {**ANN, "token": "hush"}, "bob": {**ANN, "token": "hush"}}
    assert refusal(both) == f"{PATH}:1: 'bob': token: found the same as for 'ann', expected a token of its own"
    assert len(users({"ann": {**ANN, "token": ""}, "bob": {**ANN, "token": ""}})) == 2


KEYS = st.sampled_from(["owner", "secret", "pubchans", "subchans", "publish", "subscribe", "token", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
ENTRIES = st.fixed_dictionaries(
    {"owner": st.text(), "secret": st.text()},
    optional={
        "pubchans": st.lists(st.text()),
        "subchans": st.lists(st.text()) | VALUES,
        "publish": st.lists(st.sampled_from(["a", "a.*", ">", ">.a", ""])) | VALUES,
        "token": st.text() | VALUES,
    },
)


@given(VALUES | st.dictionaries(st.text(max_size=5), ENTRIES), st.sampled_from([b"", b"honeypot"]))
def test_any_json(content: object, prefix: bytes) -> None:
    """Arbitrary JSON is users or a ConfigError, never anything else."""
    with suppress(ConfigError):
        assert isinstance(users(content, prefix), JsonTable)


@given(st.binary())
def test_any_bytes(content: bytes) -> None:
    """Arbitrary bytes are users or a ConfigError, never anything else."""
    with suppress(ConfigError):
        assert isinstance(parse(content, PATH), JsonTable)


JSONISH = st.text(alphabet='{}[]",:ab \n\\u0d8e1tfnulrase-.', max_size=30)


def outcome(read: Callable[[], list[str]]) -> object:
    """Give what is read, or nothing if it is no JSON; what exactly is wrong, each version of Python says otherwise."""
    try:
        return read()
    except json.JSONDecodeError:
        return None


@given(JSONISH | st.dictionaries(st.text(max_size=3), VALUES, max_size=3).map(json.dumps), st.integers(0, 40))
def test_taken_apart_as_json_itself(text: str, cut: int) -> None:
    """Member by member, the outermost object is what JSON's own reader says, and no JSON is none."""
    for one in ("{" + text, json.dumps({"a": text})[:cut] or "{", text):
        if one.startswith("{"):
            assert outcome(lambda one=one: [key for key, _ in _members(one)]) == outcome(
                lambda one=one: [key for key, _ in json.loads(one, object_pairs_hook=list)]
            )


def test_equal_lists_are_one() -> None:
    """Users with equal lists share the rules: of ten thousand sensors there is one record of where they may publish."""
    known = users({f"s{i}": {**ANN, "subchans": [f"{i}"]} for i in range(3)})
    found = known.among([b"s0", b"s1", b"s2"]).values()
    assert len(found) == 3
    assert len({id(one.user.grants.actions[PUBLISH]) for one in found}) == 1


def test_in_steps() -> None:
    """A file is read user by user, so that other work can go on in between."""
    content = json.dumps({f"s{i}": ANN for i in range(10)}).encode()
    assert sum(1 for _ in steps(content, PATH)) == 11
