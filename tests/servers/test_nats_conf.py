"""nats-server's configuration language, with nats-server as the judge: the same files, the same verdict and digest.

The digest that ``-t`` shows is one of all that a file says, so where it is the same, every value was read as the same.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokerkit.errors import OperatorError
from brokerkit.protocols.nats.conf.digest import digest
from brokerkit.protocols.nats.conf.parse import load
from brokerkit.protocols.nats.conf.reader import read_file
from tests.servers.nats import find
from tests.servers.programs import missing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 20
MOST = 25  # random files: each takes a process
NKEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

# The language: whatever is accepted is read as the same, and what is refused is refused by both.
LANGUAGE = [
    "port: 4",
    "port 4",
    "port=4",
    "port : 4",
    "{port: 4}",
    "'port': 4",
    '"port" 4',
    "port\n4\n",
    "port:\n4",
    "port",
    "port:=4",
    "port: = 4",
    "port:4;host:a",
    "port:4,host:a",
    "port:4 host:a",
    "port 4\r\nhost a\r\n",
    "\tport\t4\t\n",
    "port: 4\0",
    "port: 4\nport: 5",
    "port: 4 }",
    "{port: 4",
    "{}\nport 4",
    "=4",
    ": 4",
    ", port 4",
    "port 4;;host a",
    "]",
    "[",
    "# c\nport 4 # d",
    "// c\nport 4 // d",
    "port 4// d",
    "server_name: a//b",
    "server_name: a#b",
    "server_name: a # b",
    "server_name: a  ",
    "server_name: a b",
    "server_name: a;b",
    "server_name: a}b",
    "server_name: a]b",
    "server_name: a'b",
    "log_file: 'a b'",
    'log_file: "a b"',
    "log_file: 'a\\nb'",
    'log_file: "a\\nb"',
    "log_file: a\\tb",
    'log_file: "a\\qb"',
    'log_file: "\\x41"',
    'log_file: "\\x4"',
    'log_file: "\\xc3\\xa9"',
    "log_file: 'it\\'s'",
    'log_file: "it\'s"',
    "log_file: 'a\"b'",
    "log_file: 'a",
    'log_file: "a',
    "log_file: 'a\nb'",
    "log_file: a\\",
    "log_file: ''",
    "log_file: é",
    'log_file: "<&>"',
    "log_file: (\na\n b ) c\n)\n",
    "log_file: (a)",
    "log_file: (\na",
    "log_file: (\n'a' \\n # x\n)\n",
    "log_file: a{b",
    "log_file: a[b",
    "log_file: a(b)",
    "log_file: a=b:c",
    "log_file: 1.2.3.4:5",
    "log_file: @",
    "log_file: *",
    "debug: TRUE",
    "debug: on",
    "debug: Yes",
    "debug: oFF",
    "debug: no",
    "debug: 1",
    "debug: 'true'",
    "log_file: truex",
    *(
        f"max_payload: {size}"
        for size in (
            "1k",
            "1Kb",
            "1kib",
            "1KI",
            "1M",
            "1mb",
            "007",
            "0",
            "1x",
            "1.5k",
            "1_000",
            "1e3",
            "1.",
            "0x10",
            "+1",
        )
    ),
    "max_payload: 1 k",
    "max_payload: 99999999999999999999",
    "authorization {timeout: 1.50}",
    "authorization {timeout: -0.5}",
    "log_file: 1-2",
    "log_file: 2013-13-01",
    "x: 2013-12-04T18:00:00Z\ny: $x\nz: $y",
    "log_file: -x",
    "log_file: 10s",
    "x: 4\nport: $x",
    "port: $x\nx: 4",
    "x: $x",
    "authorization {v: 1}\nping_max: $v",
    "v: 1\nauthorization {timeout: $v}",
    "server_name: $NOT_THERE",
    "server_name: $THERE",
    "server_name: '$THERE'",
    "server_name: x$THERE",
    "accounts: $LIST",
    "authorization {user: a, password: $2a$11$abcdefghijklmnopqrstuuJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJ }",
    "include b.conf",
    "include 'b.conf'\nport: $w",
    "include ./b.conf; port: $w",
    "include nope.conf",
    "include\n'b.conf'",
    "authorization { include b.conf\n user: a }",
    "INCLUDE b.conf\nport: $w",
    "accounts []",
    "accounts [A, B]",
    "accounts [A\nB]",
    "accounts [A,\n\nB,]",
    "accounts [ # c\nA # d\n// e\nB\n]",
    "accounts [A B]",
    "accounts [A;B]",
    "accounts [,A]",
    "accounts [A,,B]",
    "accounts { A {\n} }",
    "accounts { A { }, B { } }",
    "accounts { 'A B' {} }",
    "authorization {user: a;password: b;}",
    "authorization {user: a password: b}",
    "authorization {,user: a}",
    "authorization{user: a}",
    "authorization {user: a,, password: b}",
    "authorization {user: a\n, password: b}",
    "authorization {user: a\npassword: b\n}}",
]

# What a file means: accepted or refused by both.
MEANING = [
    "prot: 4",
    "port: '4'",
    "port: 4.0",
    "listen: 4222",
    "listen: 'a:1'",
    "listen: ':1'",
    "listen: '[::1]:1'",
    "listen: localhost",
    "listen: ::1",
    "listen: a:b:c",
    "server_name: 'a b'",
    "server_name: 3",
    "ping_interval: 10s",
    "ping_interval: 1x",
    "lame_duck_duration: 10s",
    "lame_duck_duration: 30s",
    "max_connections: -1",
    "max_payload: 3g",
    "http: 'a:1'",
    "https_port: 1",
    "authorization {user: a, password: b}",
    "authorization {user: a, password: b, token: c}",
    "authorization {token: c}",
    "authorization {token: c, users: [{user: a}]}",
    "authorization {user: a, users: [{user: b}]}",
    "authorization {foo: 1}",
    "authorization {users: [{user: a}, {user: a}]}",
    "authorization {users: {}}",
    "authorization {users: [{password: b}]}",
    "authorization {users: [{user: 3}]}",
    "authorization {users: [a]}",
    "authorization {users: [{nkey: UX}]}",
    f"authorization {{users: [{{nkey: {NKEY}}}]}}",
    f"authorization {{users: [{{nkey: {NKEY}, user: a}}]}}",
    "auth {token: c}",
    *(
        f"authorization {{users: [{{user: a, permissions: {{{rights}}}}}]}}"
        for rights in (
            "publish: x",
            "pub: [x, y]",
            "subscribe: {allow: x, deny: ['y q']}",
            "publish: {foo: x}",
            "publish: a..b",
            "publish: 'a b'",
            "subscribe: 'b c d'",
            "publish: ''",
            "publish: []",
            "publish: 3",
            "allow_responses: true",
            "allow_responses: 5",
            "allow_responses: {max: 5, expires: '1m'}",
            "allow_responses: {max: 5, expires: 1}",
            "allow_responses: {foo: 1}",
            "resp: true",
        )
    ),
    "authorization {users: [{user: a, allowed_connection_types: [standard, WEBSOCKET]}]}",
    "authorization {users: [{user: a, allowed_connection_types: [X]}]}",
    "authorization {default_permissions: {publish: x}}",
    "accounts { A: 3 }",
    "accounts { A { foo: 1 } }",
    'accounts { "$G" { } }',
    "accounts { $SYS { users: [{user: a, password: b}] } }",
    "accounts { A { users: [{user: a}] }, B { users: [{user: a}] } }",
    "accounts { A { users: {} } }",
    "accounts { A { users: [{user: a}] } }\nauthorization { user: x, password: y }",
    *(
        f"accounts {{ A {{ exports: [{export}] }} }}"
        for export in (
            "{stream: x}",
            "{service: x}",
            "x",
            "{stream: x, service: y}",
            "{stream: x, response: stream}",
            "{service: x, response: foo}",
            "{service: x, response: Chunked}",
            "{stream: x, accounts: [C]}",
            "{stream: x, accounts: C}",
            "{stream: x, foo: 1}",
        )
    ),
    *(
        f"accounts {{ A {{ exports: [{{stream: 'x.*'}}, {{service: 'y.*'}}] }}, B {{ imports: [{one}] }} }}"
        for one in (
            "{stream: {account: A, subject: 'x.*'}}",
            "{stream: {account: A, subject: x.a}, to: b}",
            "{stream: {account: A, subject: z}}",
            "{stream: {account: C, subject: 'x.*'}}",
            "{stream: x}",
            "{stream: {account: A}}",
            "{stream: {account: A, subject: 'x.*', foo: 1}}",
            "{service: {account: A, subject: 'y.*'}, to: 'z.$1'}",
            "{service: {account: A, subject: 'y.*'}, to: z}",
            "{stream: {account: A, subject: 'x.*'}, prefix: p}",
        )
    ),
    "accounts { A { limits { max_conn: 3, max_subs: 3, max_payload: 3k, max_leafs: 1 } } }",
    "accounts { A { limits { foo: 1 } } }",
    "mappings {a: b}",
    "mappings {'a.*': 'b.$1'}",
    "mappings {'a.*': 'b.$2'}",
    "mappings {'a.*': 'b.*'}",
    "mappings {'a..b': c}",
    "mappings {a: [{destination: b, weight: 50%}, {dest: c, weight: 20}]}",
    "mappings {a: [{dest: b, weight: 60}, {dest: c, weight: 50}]}",
    "mappings {a: {dest: b, weight: 101}}",
    "mappings {a: {dest: b, weight: -1}}",
    "mappings {a: [b]}",
    "mappings [a]",
    "mapping {a: b}",
    "tls {cert_file: /nonexistent, key_file: /nonexistent}",
    "tls: true",
    "tls {foo: 1}",
    "websocket {port: 1, no_tls: true}",
    "websocket {port: 1, no_tls: true, foo: 1}",
    "websocket {listen: '1.2.3.4:4', no_tls: true, same_origin: true, compress: true}",
    "websocket: true",
    "resolver: MEMORY",
    "resolver {type: full, dir: x}",
    "trusted_keys: [x]",
    "operator: nope.jwt",
    "unknown: 1",
]

# What only one of the two takes, and why: docs/migrate-nats-server.md says it, too.
OTHERWISE = {
    "log_file: (\na\n)": "nats-server reads the bracket at the end of a file as a part of the text",
    "system_account: X": "nats-server says so only when it is started",
    "websocket {port: 1}": "nats-server says so only when it is started",
    "tls {}": "nats-server starts, and nobody can connect",
    "port: 99999": "nats-server says so only when it is started",
    "ping_interval: 10": "nats-server starts with it, and warns; here it is a number of seconds",
}


@pytest.fixture(scope="module")
def program() -> str:
    """Give the path of a nats-server."""
    path = find()
    if path is None:
        missing("nats-server is not installed, or is too old")
    assert path is not None
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with a file to include."""
    directory = tmp_path_factory.mktemp("conf")
    (directory / "b.conf").write_text("w: 7", encoding="utf-8")
    return directory


ENVIRONMENT = {**os.environ, "THERE": "here", "LIST": "[A, B]"}


def judged(program: str, place: Path, text: str) -> tuple[bool, str]:
    """Give whether nats-server takes a text, and all that it says."""
    (place / "a.conf").write_text(text, encoding="utf-8", newline="")
    done = subprocess.run(
        [program, "-t", "-c", "a.conf"],
        cwd=place,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode == 0, done.stderr


def is_of_the_language(said: str) -> bool:
    """Say whether what nats-server says against a text is about the language, and not about a meaning."""
    return bool(re.search(r"Parse error|variable reference|config is invalid|parsing include|out of the range", said))


def attempt(read: Callable[[], str]) -> tuple[str, str]:
    """Give what a function gives, or else what it complains of."""
    try:
        return read(), ""
    except OperatorError as error:
        return "", str(error)


@pytest.mark.parametrize("text", LANGUAGE)
def test_the_language(program: str, place: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What nats-server reads is read as the same, to the digest; what is not in the language is refused by both."""
    taken, said = judged(program, place, text)
    monkeypatch.chdir(place)
    ours, problem = attempt(lambda: digest(load("a.conf", ENVIRONMENT)))
    if taken:
        assert ours in said, problem
        assert not problem
    else:
        assert problem or not is_of_the_language(said), said


@pytest.mark.parametrize("text", MEANING)
def test_the_meaning(program: str, place: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What nats-server accepts is accepted, and what it refuses is refused."""
    taken, said = judged(program, place, text)
    monkeypatch.chdir(place)
    _, problem = attempt(lambda: read_file("a.conf", environment=ENVIRONMENT).digest)
    assert taken is not bool(problem), problem or said


@pytest.mark.parametrize("text", OTHERWISE)
def test_where_the_two_differ(program: str, place: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The list of differences is true: what is in it is no longer one when this fails."""
    taken, said = judged(program, place, text)
    monkeypatch.chdir(place)
    ours, problem = attempt(lambda: read_file("a.conf", environment=ENVIRONMENT).digest)
    same = not problem and ours in said if taken else bool(problem)
    assert not same, f"both agree now: {said}"


TEXTS = st.text(st.characters(exclude_characters="\0\x7f", exclude_categories=["Cs"]), max_size=12)
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def spellings(text: str) -> list[str]:
    """Write a text in all ways in which it can be written."""
    found = ['"' + "".join(ESCAPES.get(letter, letter) for letter in text) + '"']
    found += ['"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'] if text.isascii() else []
    return found if "'" in text else [*found, f"'{text}'"]


@settings(
    max_examples=MOST, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=5), number=st.integers(-(2**62), 2**62), between=st.sampled_from(",\n")
)
def test_any_text(program: str, place: Path, texts: list[str], number: int, between: str) -> None:
    """Whatever stands in quotes, or is a number, is read as nats-server reads it: the digests are the same."""
    names = between.join(spelling for text in texts for spelling in spellings(text))
    text = f"server_tags: [\n{names}\n]\nlog_file: {spellings(texts[0])[-1]}\nmax_traced_msg_len: {number}\n"
    taken, said = judged(program, place, text)
    assert taken, said
    assert digest(load(str(place / "a.conf"))) in said
