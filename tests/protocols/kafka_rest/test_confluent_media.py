"""Confluent's media types: which are read, which answer is given, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.protocols.kafka_rest import confluent_media as media
from brokerkit.web import Asked, Problem


def asked(**headers: str) -> Asked:
    """Give a request with these headers."""
    found = {name.replace("_", "-").encode(): [value.encode()] for name, value in headers.items()}
    connection: Any = None
    return Asked("GET", b"/topics", b"/topics", b"", found, b"", "192.0.2.1", connection)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("", ""),
        ("application/json", ""),
        ("application/octet-stream", ""),
        ("application/vnd.kafka+json", ""),
        ("application/vnd.kafka.v2+json", ""),
        ("application/vnd.kafka.json.v2+json", "json"),
        ("Application/VND.kafka.JSON.v2+json; charset=utf-8", "json"),
        ("application/vnd.kafka.binary.v1+json", "binary"),
        ("application/vnd.kafka.json+json", "json"),
    ],
)
def test_what_a_body_holds(said: str, meant: str) -> None:
    """The format is in the media type, and binary is meant where there is none."""
    assert media.content(asked(content_type=said)).format == meant


@pytest.mark.parametrize(
    "said",
    ["text/plain", "application/vnd.kafka.avro.v2+json", "application/vnd.kafka.v3+json", "x", "application/xml"],
)
def test_bodies_that_are_not_read(said: str) -> None:
    """Another media type is 415, also one that needs a schema registry."""
    with pytest.raises(Problem) as refused:
        media.content(asked(content_type=said))
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("", "application/vnd.kafka.v2+json"),
        ("*/*", "application/vnd.kafka.v2+json"),
        ("application/vnd.kafka.v1+json, application/vnd.kafka+json; q=0.9", "application/vnd.kafka.v1+json"),
        ("application/vnd.kafka.v1+json;q=0.1, application/vnd.kafka.v2+json;q=0.9", "application/vnd.kafka.v2+json"),
        ("text/html, application/json;q=0.5", "application/vnd.kafka.v2+json"),
    ],
)
def test_the_best_answer_is_chosen(said: str, kind: str) -> None:
    """Of what Accept names, the one with the highest weight is given."""
    assert media.accepted(asked(accept=said)).plain == kind


@pytest.mark.parametrize(
    "said", ["text/html", "application/xml;q=1", "application/json;q=0", "application/json;q=junk"]
)
def test_answers_that_cannot_be_given(said: str) -> None:
    """Where Accept names nothing that there is, that is 406."""
    with pytest.raises(Problem) as refused:
        media.accepted(asked(accept=said))
    assert refused.value.status == 406


def test_the_format_of_records_has_to_be_the_consumers() -> None:
    """Asking for JSON of a binary consumer is error 40601; to name no format is to take what it has."""
    assert media.embedded(asked(accept="application/vnd.kafka.v2+json"), "binary").of("binary") == (
        "application/vnd.kafka.binary.v2+json"
    )
    with pytest.raises(Problem) as refused:
        media.embedded(asked(accept="application/vnd.kafka.json.v2+json"), "binary")
    assert b'"error_code": 40601' in refused.value.answer().body


@given(st.text(max_size=200))
def test_no_header_breaks_it(text: str) -> None:
    """Whatever stands in the headers, there is an answer or a problem."""
    statuses = set()
    for read in (media.accepted, media.content):
        try:
            read(asked(accept=text.encode("utf-8", "replace").decode("latin-1"), content_type=text))
        except Problem as problem:
            statuses.add(problem.status)
    assert statuses <= {406, 415}
