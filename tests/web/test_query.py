"""Reading queries: everything that can be sent is read or refused, and never guessed."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.web import Problem, parse_query


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1&a=2", {"a": "2"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"a", {"a": ""}),
        (b"a=", {"a": ""}),
        (b"=x&&a=b=c", {"a": "b=c"}),
        (b"a=x+y%2B%20z", {"a": "x y+ z"}),
        (b"%61=%C3%A9", {"a": "é"}),
        (b"a=%zz%", {"a": "%zz%"}),
        ("a=é".encode(), {"a": "é"}),
    ],
)
def test_queries(query: bytes, found: dict[str, str]) -> None:
    """They are read as forms are, the last of one name counts."""
    assert parse_query(query) == found


def test_as_the_original_reads_them() -> None:
    """Semicolons part, and what is empty can be left out."""
    assert parse_query(b"a=1;b=;c=3&d", semicolons=True, blank=False) == {"a": "1", "c": "3"}


def test_what_is_refused() -> None:
    """What is no UTF-8, and far too many."""
    for query in (b"a=%FF", b"%FF=1", b"a=\xff"):
        with pytest.raises(Problem):
            parse_query(query)
    with pytest.raises(Problem):
        parse_query(b"a&" * 2000)


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_what_others_write(parameters: dict[str, str]) -> None:
    """Whatever urllib writes comes back, whichever way it is read."""
    query = urlencode(parameters).encode()
    assert parse_query(query) == parameters
    assert parse_query(query, semicolons=True) == parameters


@given(st.binary(max_size=200))
def test_any_bytes(query: bytes) -> None:
    """Any bytes are texts or a problem, and nothing else."""
    with suppress(Problem):
        found = parse_query(query, semicolons=True)
        assert all(isinstance(one, str) for pair in found.items() for one in pair)
