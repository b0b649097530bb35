"""What is said of a topic that goes from tenant to tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brokerkit.checkers.entry import read_all
from brokerkit.checkers.listed import ListedUsers
from brokerkit.crossings import crossings
from brokerkit.explain import ALLOW, DENY, Answer, explain
from brokerkit.notation import Name
from brokerkit.tenant import Destination, Export, Import, Mapping, Tenant

if TYPE_CHECKING:
    from brokerkit.explain import Decision

TENANTS = (
    Tenant(
        "sensors",
        exports=(Export("stream", b"pub.>"), Export("service", b"svc.*"), Export("stream", b"own.>", ("nobody",))),
        mappings=(
            Mapping(b"raw.*", (Destination(b"pub.$1"),)),
            Mapping(b"odd", (Destination(b"even", 30), Destination(b"odd", 50))),
        ),
    ),
    Tenant(
        "",
        imports=(
            Import("stream", "sensors", b"pub.>", prefix=b"far"),
            Import("service", "sensors", b"svc.*", to=b"ask.*"),
            Import("stream", "sensors", b"own.>"),
            Import("stream", "gone", b">"),
        ),
    ),
)


@pytest.mark.parametrize(
    ("tenant", "action", "name", "lines"),
    [
        ("sensors", "publish", Name(b"pub.x", literal=True), ["the tenant without a name imports it as 'far.pub.x'"]),
        (
            "sensors",
            "publish",
            Name(b"raw.x", literal=True),
            [
                "the mapping of 'raw.*' leads it to 'pub.x', 100 % of the time; the right is needed there",
                "the tenant without a name imports it as 'far.pub.x'",
            ],
        ),
        (
            "sensors",
            "publish",
            Name(b"odd", literal=True),
            [
                "the mapping of 'odd' leads it to 'even', 30 % of the time; the right is needed there",
                "the mapping of 'odd' leads it to 'odd', 50 % of the time; the right is needed there",
                "the mapping of 'odd' loses it, 20 % of the time; the right is needed there",
            ],
        ),
        ("sensors", "publish", Name(b"own.x", literal=True), []),
        ("sensors", "publish", Name(b"pub.>", literal=False), []),
        ("", "publish", Name(b"ask.x", literal=True), ["the tenant 'sensors' is asked, under 'svc.x'"]),
        (
            "",
            "subscribe",
            Name(b"far.*.a", literal=False),
            ["'pub.a' of the tenant 'sensors' arrives as 'far.pub.a'"],
        ),
        ("", "subscribe", Name(b"far.pub", literal=True), []),
        ("sensors", "subscribe", Name(b">", literal=False), []),
        ("unknown", "publish", Name(b"pub.x", literal=True), []),
    ],
)
def test_lines(tenant: str, action: str, name: Name, lines: list[str]) -> None:
    """Each step between tenants is a line, and what is not allowed is none."""
    assert crossings(TENANTS, tenant, action, name) == lines


def _decide(name: bytes) -> Decision:
    users = [{"name": "ann", "secret": "x", "tenant": "sensors", "publish": ["raw.a", "pub.b"]}]
    source = ListedUsers(read_all(users, "b.toml"), "b.toml")
    known = source.users([b"ann"])[b"ann"]
    return explain([Answer(source, known)], b"ann", "publish", Name(name, literal=True), 0.0, TENANTS)


def test_the_decision_is_about_where_a_mapping_leads() -> None:
    """What may be published is decided as it is when it is published: by where it goes."""
    assert _decide(b"raw.a").verdict == DENY
    assert "pub.a" in " ".join(_decide(b"raw.a").remedies)
    allowed = _decide(b"raw.b")
    assert allowed.verdict == ALLOW
    assert allowed.name.topic == b"raw.b"
    assert allowed.notes[0] == "the topics are those of the tenant 'sensors'"
    assert len(allowed.notes) == 3
