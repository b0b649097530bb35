"""The lines of a users.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from brokerkit.checkers.json_file import JsonUsers
from brokerkit.checkers.json_lines import strings, where
from brokerkit.grants import PUBLISH, SUBSCRIBE, Rule

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
{
  "ann": {"secret": "bob", "owner": "", "pubchans": ["x", "y"], "subchans": [],
          "note": {"bob": {"pubchans": ["b"]}}, "n": [[], {}, [1, "b"]]},

  "b\\u006fb": {
    "secret": "s",
    "owner": null,
    "subchans": ["a, \\"b\\"", "b"],
    "pubchans": [
      "a",
      "b"
    ],
    "publish": ["a", "c.*",
      "b"]
  }
}
"""


def test_where_things_stand(tmp_path: Path) -> None:
    """A rule stands on its own line, in the list of its kind; a user where its name stands."""
    path = tmp_path / "users.json"
    path.write_text("\ufeff" + TEXT, encoding="utf-8")
    users = JsonUsers(str(path), Clock())
    assert users.where(b"bob", PUBLISH, Rule(b"b", literal=True)) == f"{path}:11"
    assert users.where(b"bob", PUBLISH, Rule(b"b")) == f"{path}:14"
    assert users.where(b"bob", SUBSCRIBE, Rule(b'a, "b"', literal=True)) == f"{path}:8"
    assert users.where(b"bob", PUBLISH, None) == f"{path}:5"
    assert users.where(b"ann", PUBLISH, None) == f"{path}:2"


def test_under_a_prefix(tmp_path: Path) -> None:
    """The prefix is not in the file."""
    path = tmp_path / "users.json"
    path.write_text(TEXT)
    users = JsonUsers(str(path), Clock(), b"pot")
    assert users.where(b"bob", PUBLISH, Rule(b"pot.c.*")) == f"{path}:13"


def test_a_file_that_is_another_one_by_now(tmp_path: Path) -> None:
    """What is not there any more is said as well as can be: the list, the user, or the file alone."""
    path = tmp_path / "users.json"
    path.write_text(TEXT)
    assert where(str(path), "bob", "pubchans", entry="gone") == f"{path}:9"
    assert where(str(path), "bob", "gone", entry="gone") == f"{path}:5"
    assert where(str(path), "gone") == str(path)
    path.write_text('{"bob')
    assert where(str(path), "bob") == str(path)
    path.write_bytes(b"\xff")
    assert where(str(path), "bob") == str(path)
    path.unlink()
    assert where(str(path), "bob") == str(path)


_TEXTS = st.text(alphabet=st.sampled_from('ab"\\{}[],: \n\u00e4'), max_size=4)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=12,
)


def _expected(value: Any, leads: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], str | None]]:
    if isinstance(value, dict):
        pairs = [([((*leads, key), None)], _expected(inner, (*leads, key))) for key, inner in value.items()]
        return [one for pair in pairs for part in pair for one in part]
    if isinstance(value, list):
        return [one for i, inner in enumerate(value) for one in _expected(inner, (*leads, i))]
    return [(leads, value)] if isinstance(value, str) else []


@given(value=_VALUES, indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans())
def test_every_key_and_string_is_found(value: Any, indent: int | None, ascii_only: bool) -> None:
    """In any JSON, with what leads there, and at the place where it stands."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found = list(strings(text))
    assert [(leads, string) for leads, _, string in found] == _expected(value)
    for leads, offset, string in found:
        wanted = string if string is not None else leads[-1]
        assert json.JSONDecoder().raw_decode(text, offset)[0] == wanted


@given(text=st.text(alphabet=st.sampled_from('ab"\\{}[],: \n'), max_size=40))
def test_what_is_no_json(text: str) -> None:
    """It ends, with whatever it gives, or with a ValueError."""
    try:
        list(strings(text))
    except ValueError:
        return
