"""The ``[[tenant]]`` tables: what they say, and that every mistake in them is named."""

from __future__ import annotations

import tomllib

import pytest

from brokerkit.config import structure
from brokerkit.errors import ConfigError
from brokerkit.tenant import Destination, Export, Import, Mapping, Tenant
from brokerkit.tenant_tables import read_tenants

PAGE = """
[[tenant]]
name = "sensors"
exports = [{stream = "pub.>"}, {service = "svc.*", tenants = ["readers"], response = "stream"}]
max_connections = 5
max_subscriptions = 6
max_payload = 7

[[tenant]]
name = "readers"
imports = [{stream = "pub.a", from = "sensors", prefix = "far"}, {service = "svc.x", from = "sensors", to = "ask"}]
[tenant.mappings]
"a.*" = "b.$1"
"c" = [{to = "d", weight = 30}, "e"]

[[tenant]]
name = ""
"""


def read(text: str) -> tuple[Tenant, ...]:
    """Give the tenants of a file."""
    return read_tenants(tomllib.loads(text)["tenant"], "b.toml")


def test_everything() -> None:
    """Every key becomes what it is called."""
    text = PAGE.replace(', "e"', ', {to = "e", weight = 70}')
    assert read(text) == (
        Tenant(
            "sensors",
            exports=(Export("stream", b"pub.>"), Export("service", b"svc.*", ("readers",), "stream")),
            max_connections=5,
            max_subscriptions=6,
            max_payload=7,
        ),
        Tenant(
            "readers",
            imports=(
                Import("stream", "sensors", b"pub.a", prefix=b"far"),
                Import("service", "sensors", b"svc.x", to=b"ask"),
            ),
            mappings=(
                Mapping(b"a.*", (Destination(b"b.$1"),)),
                Mapping(b"c", (Destination(b"d", 30), Destination(b"e", 70))),
            ),
        ),
        Tenant(""),
    )
    assert structure(tomllib.loads(text), {}, "b.toml").tenants == read(text)


EXPORTER = 'name = "a"\nexports = [{stream = "s.>"}, {service = "q", tenants = ["c"]}]\n[[tenant]]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('nam = "a"', "tenant[0].nam: found an unknown key, expected one of name, exports"),
        ("exports = []", "tenant[0].name: found nothing, expected the name of a tenant"),
        ('name = "$G"', "tenant[0].name: found '$G', expected an empty name"),
        ("name = 3", "tenant[0].name: found a number, expected a string"),
        ('name = "a\\u0007"', "tenant[0].name: found 'a\\x07', expected text without control characters"),
        ('name = "a"\n[[tenant]]\nname = "a"', "tenant[1].name: found 'a', expected another than that of tenant[0]"),
        ('name = "a"\nmax_payload = -1', "tenant[0].max_payload: found -1, expected a whole number, not negative"),
        ('name = "a"\nexports = 1', "tenant[0].exports: found a number, expected a list of tables"),
        ('name = "a"\nexports = ["x"]', "tenant[0].exports[0]: found a string, expected a table with stream, service"),
        ('name = "a"\nexports = [{}]', "tenant[0].exports[0]: found neither, expected a stream or a service"),
        (
            'name = "a"\nexports = [{stream = "a", service = "b"}]',
            "tenant[0].exports[0]: found stream and service, expected a stream or a service",
        ),
        ('name = "a"\nexports = [{stream = "a..b"}]', "tenant[0].exports[0].stream: found 'a..b', expected a pattern"),
        (
            'name = "a"\nexports = [{service = "a", response = "some"}]',
            "tenant[0].exports[0].response: found 'some', expected one of singleton, stream, chunked",
        ),
        (
            'name = "a"\nexports = [{stream = "a", response = "stream"}]',
            "tenant[0].exports[0].response: found 'stream', expected no response: a stream has none",
        ),
        (
            'name = "a"\nexports = [{stream = "a", tenants = []}]',
            "tenant[0].exports[0].tenants: found [], expected at least one; without this key it is for all",
        ),
        (
            'name = "a"\nexports = [{stream = "a", tenants = [1]}]',
            "tenant[0].exports[0].tenants: found a list, expected a list of strings",
        ),
        ('name = "b"\nimports = [{stream = "s"}]', "tenant[0].imports[0].from: found nothing, expected the name"),
        (
            'name = "sensor"\n[[tenant]]\nname = "b"\nimports = [{stream = "s", from = "sensors"}]',
            "tenant[1].imports[0].from: found 'sensors', expected the name of a tenant in this file (did you mean",
        ),
        (
            EXPORTER + 'name = "b"\nimports = [{stream = "t", from = "a"}]',
            "tenant[1].imports[0].stream: found 't', expected what 'a' exports: s.>",
        ),
        (
            EXPORTER + 'name = "b"\nimports = [{stream = ">", from = "a"}]',
            "tenant[1].imports[0].stream: found '>', expected what 'a' exports: s.>",
        ),
        (
            EXPORTER + 'name = "b"\nimports = [{service = "q", from = "a"}]',
            "tenant[1].imports[0].service: found 'q', expected what 'a' exports to 'b'",
        ),
        (
            EXPORTER + 'name = "b"\nimports = [{stream = "s.x", from = "a", prefix = "p.*"}]',
            "tenant[1].imports[0].prefix: found 'p.*', expected a topic: no empty token, no wildcard",
        ),
        (
            EXPORTER + 'name = "b"\nimports = [{stream = "s.x", from = "a", prefix = "p", to = "q"}]',
            "tenant[1].imports[0].prefix: found a prefix beside a to, expected one of the two",
        ),
        (
            EXPORTER + 'name = "c"\nimports = [{service = "q", from = "a", prefix = "p"}]',
            "tenant[1].imports[0].prefix: found a prefix of a service, expected to alone",
        ),
        (
            EXPORTER + 'name = "b"\nimports = [{stream = "s.*.*", from = "a", to = "q.$1"}]',
            "tenant[1].imports[0].to: found 'q.$1', expected all of the 2 wildcards",
        ),
        ('name = "a"\nmappings = 1', "tenant[0].mappings: found a number, expected a table of patterns"),
        (
            'name = "a"\nmappings = {"a.*" = "b.$2"}',
            "tenant[0].mappings.'a.*': found $2, expected the number of a * in the pattern, which has 1",
        ),
        ('name = "a"\nmappings = {a = 1}', "tenant[0].mappings.'a': found a number, expected a table with to, weight"),
        (
            'name = "a"\nmappings = {a = [{to = "b", wait = 1}]}',
            "tenant[0].mappings.'a'[0].wait: found an unknown key, expected one of to, weight (did you mean weight?)",
        ),
        (
            'name = "a"\nmappings = {a = [{to = "b", weight = 60}, {to = "c", weight = 50}]}',
            "tenant[0].mappings.'a': found weights of 110 together, expected at most 100",
        ),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    """What cannot be meant ends the start, with the place, what was found and what was expected."""
    with pytest.raises(ConfigError) as caught:
        read(f"[[tenant]]\n{text}")
    assert str(caught.value).startswith(f"b.toml: {message}")


def test_a_table_alone() -> None:
    """What is written like a table of tenants, with single brackets, is not taken for one."""
    with pytest.raises(ConfigError, match="tables that are headed"):
        structure({"tenant": {"name": "a"}}, {}, "b.toml")
