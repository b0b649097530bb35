"""The language of nats-server's configuration file: what a text says, and what is no such text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokerkit.errors import OperatorError
from brokerkit.protocols.nats.conf import parse as module
from brokerkit.protocols.nats.conf.digest import digest
from brokerkit.protocols.nats.conf.parse import load, parse
from brokerkit.protocols.nats.conf.tree import Value, Wrong

if TYPE_CHECKING:
    from pathlib import Path


def plain(value: Value) -> Any:
    """Give a value without its places."""
    data = value.data
    if isinstance(data, dict):
        return {key: plain(pair.value) for key, pair in data.items()}
    return [plain(one) for one in data] if isinstance(data, list) else data


def read(text: str, **environment: str) -> Any:
    """Give what a text says."""
    return plain(parse(text, "a.conf", environment))


def wrong(text: str, **environment: str) -> str:
    """Give what is said against a text."""
    with pytest.raises(OperatorError) as caught:
        parse(text, "a.conf", environment)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: 2",
        "a = 1\nb = 2",
        "a 1\nb 2",
        "a : 1 ; b : 2",
        "a:1,b:2",
        "{a: 1, b: 2}",
        '{"a": 1, "b": 2}',
        "'a' 1\n\"b\" = 2\n",
        "# first\na: 1 # one\n// second\nb: 2 // two",
        "a\n1\r\nb\t2\r\n",
        "\ta\t1\t\n\n\n  b 2  ",
        "a: 1\n}\nb: 2",
        "a: 9\na: 1\nb: 2",
        "\ufeffa: 1\nb: 2",
        "a: 1\nb: 2\0",
    ],
)
def test_one_meaning_written_in_many_ways(text: str) -> None:
    """Separators, quotes, comments, line ends and braces around the whole make no difference; the last of two wins."""
    assert read(text) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("4222", 4222), ("-1", -1), ("007", 7), ("1.5", 1.5), ("-0.5", -0.5),
        ("1k", 1000), ("1K", 1000), ("1kb", 1024), ("1KB", 1024), ("1ki", 1024), ("1KiB", 1024), ("-2k", -2000),
        ("1m", 1000**2), ("1MB", 1024**2), ("1g", 1000**3), ("1Gib", 1024**3), ("1t", 1000**4), ("1e", 1000**6),
        ("true", True), ("YES", True), ("On", True), ("false", False), ("no", False), ("oFF", False),
        ("truex", "truex"), ("1x", "1x"), ("1_000", "1_000"), ("0x10", "0x10"), ("10s", "10s"), ("500ms", "500ms"),
        ("1.2.3.4", "1.2.3.4"), ("127.0.0.1:4222", "127.0.0.1:4222"), ("nats://a:1", "nats://a:1"),
        ("a.>", "a.>"), ("a#b", "a#b"), ("a//b", "a//b"), ("a=b:c", "a=b:c"), ("a{b", "a{b"), ("a(b)", "a(b)"),
        ("'a b'", "a b"), ('"a b"', "a b"), ("''", ""), ("'a\\nb'", "a\\nb"), ('"a\\nb"', "a\nb"), ("a\\tb", "a\tb"),
        ('"\\x41\\\\\\""', 'A\\"'), ('"\\xc3\\xa9"', "é"), ("é", "é"), ("'a\nb'", "a\nb"), ("\"it's\"", "it's"),
        ("(\n one\n two ) \n)\n", "\n one\n two ) \n"), ("'$HOME'", "$HOME"),
        ("$2a$11$a/b.c", "$2a$11$a/b.c"), ("2027-01-31T12:00:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("{}", {}), ("[]", []), ("{b: {c: 1}}", {"b": {"c": 1}}), ("{ b 1; c 2, }", {"b": 1, "c": 2}),
        ("[1, 'b', c.d ]", [1, "b", "c.d"]), ("[\n1\n2\n]", [1, 2]),
        ("[ # c\n{b: 1}\n{b: 2}, // d\n]", [{"b": 1}, {"b": 2}]),
    ],
)  # fmt: skip
def test_values(word: str, meaning: object) -> None:
    """Every kind of value is what nats-server takes it for."""
    found = read(f"a: {word}")["a"]
    assert (found, type(found)) == (meaning, type(meaning))


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a", "1:1", '"a" has no value'),
        ("b: 1\n  a:\n1", "2:3", '"a" has no value'),
        ("a: {b: 1", "1:4", "} is missing"),
        ("a: [1", "1:4", "] is missing"),
        ("a: 'b", "1:4", "' is missing"),
        ('a: "b', "1:4", '" is missing'),
        ("a: (b)", "1:4", ") is missing"),
        ("a: 1 b", "1:6", "a comma or the end of the line"),
        ("a: 'b'c", "1:7", "a comma or the end of the line"),
        ("a: [1 2]", "1:7", "a comma or ]"),
        ("a: [1,,2]", "1:7", "a value is expected"),
        ("= 1", "1:1", "a key is expected"),
        (", a 1", "1:1", "a key is expected"),
        ("a{b: 1}", "1:1", "a blank before a brace"),
        ("a: it's", "1:4", "put in double quotes"),
        ('a: "\\q"', "1:4", "behind a backslash"),
        ("a: b\\", "1:4", "behind a backslash"),
        ('a: "\\x4"', "1:4", "behind a backslash"),
        ("a: 1.5k", "1:4", "begins as a number"),
        ("a: 1.", "1:4", "begins as a number"),
        ("a: -x", "1:4", "begins as a number"),
        ("a: 2013-13-01", "1:4", "begins as a date"),
        ("a: 99999999999999999999", "1:4", "63 bits"),
        ("a: $NOPE", "1:4", "$NOPE is not known"),
        ("a: $a", "1:4", "$a is not known"),
        ("b { c: 1 }\na: $c", "2:4", "$c is not known"),
        ("include nope.conf", "1:9", "nope.conf: cannot be read"),
        ("include\n'b'", "1:8", "include needs the name"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, place: str, words: str) -> None:
    """One line names file, line and column, and what was expected there."""
    said = wrong(text)
    assert said.startswith(f"a.conf:{place}: ")
    assert words in said


def test_no_value_is_repeated() -> None:
    """What is wrong may be a password, so that nothing of it stands in the message, nor in a representation."""
    for text in (
        "password: -secret",
        "password: 'secret",
        'password: "secret\\q"',
        "password: secret x",
        "p: 1.secret",
    ):
        assert "secret" not in wrong(text)
    assert "secret" not in repr(parse("password: secret"))


# -- variables ----------------------------------------------------------------------------------------------------


def test_variables() -> None:
    """A variable is a key of this block or of one around it, above where it is used; else it is the environment's."""
    text = "v: 3\nw: [1, 2]\na { v: 4\n b { c: $v, d: $w, e: $E } }\nf: $v"
    assert read(text, E="'x y'", v="9")["a"]["b"] == {"c": 4, "d": [1, 2], "e": "x y"}
    assert read(text, E="1")["f"] == 3


def test_variables_of_the_environment() -> None:
    """What stands in the environment is read as a value, too, and may name others."""
    assert read("a: $A", A="55") == {"a": 55}
    assert read("a: $A", A="") == {"a": ""}
    assert read("a: $A", A="[x, y]\n") == {"a": ["x", "y"]}
    assert read("a: $A", A="$B", B="on") == {"a": True}
    assert "stands for itself" in wrong("a: $A", A="$B", B="$A")
    assert wrong("a: $A", A="a secret").endswith(
        "$A in the environment: one value is expected, in quotes if it has blanks in it"
    )


def test_who_was_used_as_a_variable_is_known() -> None:
    """Such a key needs no meaning of its own, in the file."""
    tree = parse("v: 3\nw: 4\na: $v").data
    assert (tree["v"].used, tree["w"].used) == (True, False)


def test_many_variables_of_the_environment() -> None:
    """A long chain of them ends in an error, not in the stack."""
    chain = {f"V{i}": f"$V{i + 1}" for i in range(500)}
    assert "stand for each other" in wrong("a: $V0", **chain)


# -- files --------------------------------------------------------------------------------------------------------


def test_include(tmp_path: Path) -> None:
    """A file is put where it is named, beside the one that names it; its keys are variables from there on."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.conf").write_text("include 'sub/a.conf'\nb { include ./b.conf }\nc: $x; d: 2", encoding="utf-8")
    (tmp_path / "sub" / "a.conf").write_text('x: 7\ninclude "more.conf"', encoding="utf-8")
    (tmp_path / "sub" / "more.conf").write_text("y: 8", encoding="utf-8")
    (tmp_path / "b.conf").write_text("z: 9", encoding="utf-8")
    assert plain(load(str(tmp_path / "main.conf"))) == {"x": 7, "y": 8, "b": {"z": 9}, "c": 7, "d": 2}


def test_places_in_included_files(tmp_path: Path) -> None:
    """What is wrong in an included file is said with that file's name; it does not see variables of the other."""
    (tmp_path / "main.conf").write_text("v: 1\ninclude a.conf", encoding="utf-8")
    (tmp_path / "a.conf").write_text("\n x: $v", encoding="utf-8")
    with pytest.raises(Wrong) as caught:
        load(str(tmp_path / "main.conf"), {})
    assert (
        str(caught.value) == f"{tmp_path}/a.conf:2:5: the variable $v is not known, in the file or in the environment"
    )


def test_files_that_include_each_other(tmp_path: Path) -> None:
    """A circle is refused (nats-server's stack overflows), under whatever name it closes."""
    (tmp_path / "a.conf").write_text("include b.conf", encoding="utf-8")
    (tmp_path / "b.conf").write_text("include ./link.conf", encoding="utf-8")
    (tmp_path / "link.conf").symlink_to("a.conf")
    with pytest.raises(Wrong, match="includes itself"):
        load(str(tmp_path / "a.conf"))


def test_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number and their depth are bounded."""
    (tmp_path / "empty.conf").write_text("", encoding="utf-8")
    (tmp_path / "many.conf").write_text("include empty.conf\n" * 5, encoding="utf-8")
    for i in range(30):
        (tmp_path / f"{i}.conf").write_text(f"include {i + 1}.conf", encoding="utf-8")
    monkeypatch.setattr(module, "MAX_FILES", 4)
    with pytest.raises(Wrong, match="more than 4 files are included"):
        load(str(tmp_path / "many.conf"))
    monkeypatch.setattr(module, "MAX_FILES", 100)
    with pytest.raises(Wrong, match="more than 20 files within each other"):
        load(str(tmp_path / "0.conf"))


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), (b"a: 1\nb: \xff", ":2: a byte that is not UTF-8")]
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, words: str) -> None:
    """A file that is missing, or is no text, is said so in one line."""
    if content is not None:
        (tmp_path / "a.conf").write_bytes(content)
    with pytest.raises(OperatorError, match=words):
        load(str(tmp_path / "a.conf"))


def test_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read up to a size."""
    monkeypatch.setattr(module, "MAX_SIZE", 10)
    (tmp_path / "a.conf").write_text("a: 1234567890", encoding="utf-8")
    with pytest.raises(OperatorError, match="more than 10 bytes"):
        load(str(tmp_path / "a.conf"))


# -- hostile texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", ["a {", "a: ["])
def test_deep_blocks(opening: str) -> None:
    """Blocks within blocks end in an error, not in the stack."""
    text = opening + ("[" if opening.endswith("[") else opening) * 5000
    assert "blocks within each other" in wrong(text)


@given(st.text(alphabet="ab1k.-+:=;,{}[]()'\"\\$# \t\n/x\0é", max_size=40))
@example("a\x0b: 1")
def test_any_text(text: str) -> None:
    """Whatever is written, it is read or refused with a place."""
    try:
        found = parse(text, "a.conf", {})
    except Wrong as error:
        found = Value({}, error.place)
    assert (type(found.data), found.place.file) == (dict, "a.conf")


KEYS = st.text(alphabet="abcxyz_.", min_size=1, max_size=6).filter(lambda key: key != "include")
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(TEXTS, st.booleans(), st.integers(-(2**62), 2**62))
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


def written(value: Any) -> str:
    """Write a value in one of the ways of the language."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + " ]"
    if isinstance(value, bool):
        return "on" if value else "no"
    if isinstance(value, str):
        escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
        return '"' + "".join(escapes.get(letter, letter) for letter in value) + '"'
    return str(value)


@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_what_is_written_is_read(tree: dict[str, Any]) -> None:
    """Any tree that is written is read as the same."""
    assert read("\n".join(f"{key} = {written(value)}" for key, value in tree.items())) == tree


def test_the_digest() -> None:
    """It is that of what is said, not of how; the value is nats-server's own for this file."""
    known = "sha256:c20215432530556cf1fb2c4a2eb26e78e23b9c0daf9ae2032460d5e9cb7be2c7"
    assert digest(parse("port: 4")) == digest(parse("# c\n{'port' 4}")) == known
