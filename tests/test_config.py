"""The configuration: what a file may say, what is said of one that cannot be meant, and whether its page is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import pytest

from brokerkit import config
from brokerkit.checkers.entry import Entry
from brokerkit.config import Config, Listen, load, merge, parse_exporter, structure
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.keep import Keep
from brokerkit.plugin import protocols
from brokerkit.session import Settings
from brokerkit.tenant import Tenant

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"


@attrs.frozen
class TalkSettings(Settings):
    """One field of each type that a settings class may have."""

    loud: bool = False
    max_payload: int = 1024
    pause: float = 0.5
    motto: str = ""
    room: str | None = None
    friends: tuple[str, ...] = ()
    volume: int = attrs.field(default=5, validator=attrs.validators.le(10))


class Plugin:
    """As much of a protocol plugin as the configuration looks at."""

    def __init__(self, name: str, default: str | None, settings: type) -> None:
        """Be called that."""
        self.name, self.default, self._settings = name, default, settings

    def settings(self) -> type:
        """Give the settings class."""
        return self._settings


PLUGINS: Any = {
    "talk": Plugin("talk", "tcp:port=7:interface=127.0.0.1", TalkSettings),
    "whisper": Plugin("whisper", None, Settings),
}


def read(**data: object) -> Config:
    """Structure what a file ``broker.toml`` says."""
    return structure(data, PLUGINS, "broker.toml")


def listen(**table: object) -> Listen:
    """Structure one ``[[listen]]`` table."""
    return read(listen=[{"protocol": "talk", **table}]).listen[0]


def complaint(**data: object) -> str:
    """Give the one line that a file is refused with."""
    with pytest.raises(ConfigError) as caught:
        read(**data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(directory: Path, text: str | bytes) -> str:
    """Write a file and give its path."""
    path = directory / "broker.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


# -- what is taken ------------------------------------------------------------------------------------------------


def test_an_empty_file_is_all_defaults() -> None:
    """Nothing said is nothing but defaults."""
    assert read() == Config(source="broker.toml")


def test_every_key_of_the_top_is_taken() -> None:
    """What stands at the top is in the tree."""
    said = {"name": "hive", "data_dir": "/var/hive", "exporter": ":9431", "login_deadline": 3.0, "login_cache": 0.0}
    made = read(**said, auth=["env", "json:users.json"])
    assert made == Config(**said, auth=("env", "json:users.json"), source="broker.toml")  # type: ignore[arg-type]


def test_one_source_of_users_needs_no_list() -> None:
    """A single string for auth is a list of one."""
    assert read(auth="env").auth == ("env",)


def test_a_listener_takes_its_protocols_settings() -> None:
    """What is no key of every listener fills the protocol's settings class; what is not said keeps its default."""
    made = listen(
        endpoint="tcp:9", topic_prefix="a.b", loud=True, max_payload=0, pause=2, motto="m", room="r", friends=["x", "y"]
    )
    settings = TalkSettings(
        loud=True, max_payload=0, pause=2.0, motto="m", room="r", friends=("x", "y"), max_connections=65536
    )
    assert made == Listen("talk", "tcp:9", "a.b", settings)
    assert type(made.settings.pause) is float


def test_a_listener_without_endpoint_has_the_protocols_own() -> None:
    """The plugin's default endpoint is used when the table names none, and all settings are defaults."""
    assert listen() == Listen("talk", "tcp:port=7:interface=127.0.0.1", "", TalkSettings())


@pytest.mark.parametrize("prefix", ["", "honeypot", "a.b.c", "a*b.c>", "größe"])
def test_a_literal_topic_is_a_prefix(prefix: str) -> None:
    """A star inside a token is no wildcard."""
    assert listen(topic_prefix=prefix).topic_prefix == prefix


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("max_payload", "5", "found '5', expected a whole number, not negative"),
        ("max_payload", True, "found True, expected a whole number"),
        ("max_payload", 5.0, "found 5.0, expected a whole number"),
        ("max_payload", -1, "found -1, expected a whole number, not negative"),
        ("max_connections", [], "found [], expected a whole number"),
        ("pause", "1", "found '1', expected a number, not negative"),
        ("pause", False, "found False, expected a number"),
        ("pause", -0.5, "found -0.5, expected a number, not negative"),
        ("pause", float("nan"), "found nan, expected a number"),
        ("pause", float("inf"), "found inf, expected a number"),
        ("pause", 10**400, "expected a number"),
        ("loud", 1, "found 1, expected true or false"),
        ("loud", "yes", "found 'yes', expected true or false"),
        ("motto", 5, "found 5, expected a string"),
        ("room", 5, "found 5, expected a string"),
        ("friends", "ann", "found 'ann', expected a list of strings"),
        ("endpoint", 10000, "found 10000, expected a string"),
        ("topic_prefix", 1, "found 1, expected a string"),
        ("volume", 11, "'volume' must be <= 10: 11"),
    ],
)
def test_a_value_of_another_kind_is_refused(key: str, value: object, expected: str) -> None:
    """Nothing is coerced but an integer to a fraction; the message names file, key, what was found and expected."""
    said = complaint(listen=[{"protocol": "talk"}, {"protocol": "talk", key: value}])
    where = "listen[1]" if key == "volume" else f"listen[1].{key}"
    assert said.startswith(f"broker.toml: {where}: found ")
    assert expected in said


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"name": 5}, "name: found 5, expected a string"),
        ({"exporter": 9431}, "exporter: found 9431, expected a string"),
        ({"auth": 5}, "auth: found 5, expected a list of strings"),
        ({"auth": ["env", 5]}, "auth[1]: found 5, expected a string"),
        ({"data_dir": ""}, "data_dir: found '', expected the path of a directory"),
        ({"listen": {"protocol": "talk"}}, "listen: found {'protocol': 'talk'}, expected tables that are headed [["),
        ({"listen": "talk"}, "listen: found 'talk', expected tables that are headed [[listen]]"),
        ({"listen": ["talk"]}, "listen[0]: found 'talk', expected a table"),
        ({"exporter": "nowhere"}, "exporter: found 'nowhere', expected HOST:PORT"),
    ],
)
def test_a_wrong_value_at_the_top_is_refused(data: dict[str, object], expected: str) -> None:
    """The same holds for the keys of the top."""
    assert complaint(**data).startswith(f"broker.toml: {expected}")


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    """A slip in a key is answered by the key that was meant."""
    said = complaint(listen=[{"protocol": "talk", "max_paylod": 5}])
    assert said.startswith("broker.toml: listen[0].max_paylod: found an unknown key, expected one of protocol, ")
    assert said.endswith("(did you mean max_payload?)")
    assert complaint(exportr=":1").endswith("(did you mean exporter?)")


def test_a_key_like_no_other_is_refused_without_a_guess() -> None:
    """There is no suggestion where nothing is near, and a key with odd letters stays on one line."""
    said = complaint(**{"zz\nzz": 1})
    assert said.startswith(r"broker.toml: 'zz\nzz': found an unknown key, expected one of name, data_dir, ")
    assert "did you mean" not in said


def test_fields_that_are_no_keys_are_unknown() -> None:
    """The file's name and the settings object cannot be said in a file."""
    assert "source: found an unknown key" in complaint(source="x")
    assert "listen[0].settings: found an unknown key" in complaint(listen=[{"protocol": "talk", "settings": {}}])


def test_a_key_of_the_top_below_a_listener_is_sent_home() -> None:
    """In TOML what follows a [[listen]] belongs to it; who forgets that is told so."""
    assert complaint(listen=[{"protocol": "talk", "auth": "env"}]).endswith("(auth belongs above the first [[listen]])")


def test_an_unknown_protocol_is_refused_with_the_nearest_known_one() -> None:
    """A slip in a protocol is answered by the protocol that was meant."""
    said = complaint(listen=[{"protocol": "tlak"}])
    assert said == "broker.toml: listen[0].protocol: found 'tlak', expected one of talk, whisper (did you mean talk?)"


def test_a_listener_needs_a_protocol() -> None:
    """Without a protocol there is nothing to listen for."""
    assert complaint(listen=[{}]) == "broker.toml: listen[0].protocol: found nothing, expected one of talk, whisper"
    assert "listen[0].protocol: found ['talk']" in complaint(listen=[{"protocol": ["talk"]}])


def test_a_listener_needs_an_endpoint_if_its_protocol_has_no_usual_one() -> None:
    """A protocol without a default endpoint has to be given one."""
    assert "listen[0].endpoint: found nothing, expected an endpoint" in complaint(listen=[{"protocol": "whisper"}])


@pytest.mark.parametrize("prefix", ["a..b", ".a", "a.", ".", "*", "a.*", "a.>", "a b", "a\r\nb", "a\tb", "a\0b"])
def test_what_is_no_literal_topic_is_no_prefix(prefix: str) -> None:
    """Empty tokens, wildcards, blanks and control characters cannot stand in a prefix."""
    said = complaint(listen=[{"protocol": "talk", "topic_prefix": prefix}])
    assert said.startswith(f"broker.toml: listen[0].topic_prefix: found {prefix!r}, expected a topic")


def test_only_the_first_mistake_is_told() -> None:
    """One message, about one key, however many are wrong."""
    said = complaint(name=1, data_dir=2, listen=[{"protocol": "talk", "loud": 1, "pause": "x"}, 5])
    assert said == "broker.toml: name: found 1, expected a string"


# -- files --------------------------------------------------------------------------------------------------------


def test_a_relative_data_dir_is_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory does not depend on where the broker is started; it is absolute either way."""
    (tmp_path / "etc").mkdir()
    write(tmp_path / "etc", 'data_dir = "state"')
    monkeypatch.chdir(tmp_path)
    assert load("etc/broker.toml", PLUGINS).data_dir == str(tmp_path / "etc" / "state")
    write(tmp_path / "etc", 'data_dir = "/var/lib/brokerkit"')
    assert load("etc/broker.toml", PLUGINS).data_dir == "/var/lib/brokerkit"


def test_messages_name_the_file_as_it_was_given(tmp_path: Path) -> None:
    """The source is the path."""
    path = write(tmp_path, "name = 5")
    with pytest.raises(ConfigError, match=rf"^{re.escape(path)}: name: found 5, expected a string$"):
        load(path, PLUGINS)


def test_bad_toml_is_one_line_with_its_place(tmp_path: Path) -> None:
    """A syntax error says in which line it stands."""
    path = write(tmp_path, 'name = "hive"\n\nauth = [\n')
    with pytest.raises(OperatorError, match=rf"^{re.escape(path)}: is no TOML: .*(line 4|end of document)[^\n]*$"):
        load(path, PLUGINS)
    path = write(tmp_path, "name = hive\n")
    with pytest.raises(OperatorError, match=r"is no TOML: .*line 1, column 8"):
        load(path, PLUGINS)


def test_what_is_no_text_is_no_toml(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused, not shown as a traceback."""
    with pytest.raises(OperatorError, match=r"is no TOML: .*utf-8"):
        load(write(tmp_path, b"name = '\xff'"), PLUGINS)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    """Neither a missing file nor a directory is a traceback."""
    missing = str(tmp_path / "none.toml")
    with pytest.raises(OperatorError, match=rf"^{re.escape(missing)}: cannot be read: No such file or directory$"):
        load(missing, PLUGINS)
    with pytest.raises(OperatorError, match=r"cannot be read: Is a directory$"):
        load(str(tmp_path), PLUGINS)


# -- flags --------------------------------------------------------------------------------------------------------

NOTHING: dict[str, Any] = {"name": None, "data_dir": None, "exporter": None, "auth": (), "listen": ()}
FILE = Config("file", "/file", ":1", ("env",), listen=(Listen("talk", "tcp:1"),), source="broker.toml")


def test_flags_that_are_not_given_change_nothing() -> None:
    """The file's values stay."""
    assert merge(FILE, **NOTHING) == FILE


def test_flags_replace_the_files_values_and_add_to_its_listeners() -> None:
    """Single values and auth are replaced, listeners are added."""
    added = Listen("whisper", "tcp:2")
    merged = merge(FILE, name="flag", data_dir="/flag", exporter=":2", auth=("anonymous",), listen=(added,))
    listen = (*FILE.listen, added)
    assert merged == Config("flag", "/flag", ":2", ("anonymous",), listen=listen, source="broker.toml")


def test_a_data_dir_flag_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag is meant from where it is written."""
    monkeypatch.chdir(tmp_path)
    assert merge(FILE, **{**NOTHING, "data_dir": "state"}).data_dir == str(tmp_path / "state")


@pytest.mark.parametrize(("flag", "value"), [("exporter", "x"), ("exporter", ""), ("data_dir", "")])
def test_a_wrong_flag_is_not_blamed_on_the_file(flag: str, value: str) -> None:
    """The message names the command line."""
    with pytest.raises(ConfigError, match=rf"^command line: {flag}: found '{value}', expected "):
        merge(FILE, **{**NOTHING, flag: value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9431", ("127.0.0.1", 9431)),
        ("0.0.0.0:9431", ("0.0.0.0", 9431)),  # noqa: S104
        ("localhost:9431", ("localhost", 9431)),
        (":9431", ("127.0.0.1", 9431)),
        ("9431", ("127.0.0.1", 9431)),
        ("[::1]:9431", ("::1", 9431)),
        ("[::]:0", ("::", 0)),
    ],
)
def test_the_exporters_address(text: str, expected: tuple[str, int]) -> None:
    """Host and port, or a port on loopback."""
    assert parse_exporter(text, "broker.toml") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "host:",
        "host",
        "a b:1",
        ":65536",
        ":-1",
        ":9431 ",
        ":९",
        "::1:9431",
        "[x]:1",
        "[1]:1",
        "[:::]:1",
        "a:1:2",
    ],
)
def test_what_is_no_address_of_an_exporter(text: str) -> None:
    """Everything else is refused with the string and what was expected."""
    with pytest.raises(ConfigError) as caught:
        parse_exporter(text, "broker.toml")
    assert str(caught.value).startswith(f"broker.toml: exporter: found {text!r}, expected HOST:PORT, :PORT or PORT")


def test_an_ipv6_exporter_without_brackets_is_explained() -> None:
    """The hint shows the brackets."""
    with pytest.raises(ConfigError, match=r"\[::1\]:9431"):
        parse_exporter("::1:9431", "broker.toml")


# -- the page -----------------------------------------------------------------------------------------------------

TYPES: dict[Any, str] = {
    int: "integer",
    float: "number",
    bool: "boolean",
    str: "string",
    str | None: "string",
    int | None: "integer",
    float | None: "number",
    tuple[str, ...]: "list of strings",
    tuple[Listen, ...]: "tables",
    tuple[Entry, ...]: "tables",
    tuple[Tenant, ...]: "tables",
    tuple[Keep, ...]: "tables",
}
HEADINGS = {"nats": "NATS", "nats-websocket": "NATS in WebSocket"}  # where another protocol's is not just its name


def rows(heading: str) -> dict[str, tuple[str, str]]:
    """Give type and default of each key in the page's table below a heading, without the code marks."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if "|" in line]
    assert cells[0] == ["key", "type", "default", "meaning"]
    assert all(len(row) == 4 and row[3] for row in cells[2:])
    return {key.strip("`"): (kind, default.strip("`")) for key, kind, default, _ in cells[2:]}


def fields(kind: type[Any], *, without: str = "") -> dict[str, tuple[str, str]]:
    """Give the same of an attrs class."""
    types = get_type_hints(kind)
    found = [field for field in attrs.fields(kind) if field.name != without]
    return {field.name: (TYPES[types[field.name]], shown(field.default)) for field in found}


def shown(default: object) -> str:
    """Write a default as the page does: as TOML, in words where TOML has none."""
    if default is attrs.NOTHING:
        return "required"
    if default is None:
        return "none"
    if isinstance(default, str):
        return f'"{default}"'
    return str(default).lower() if isinstance(default, bool) else "[]" if default == () else repr(default)


def test_the_page_lists_the_keys_of_the_top() -> None:
    """Names, types, defaults and order are those of the class."""
    expected = [(config._TABLES.get(key, key), row) for key, row in fields(Config, without="source").items()]
    assert list(rows("At the top").items()) == expected


def test_the_page_lists_the_keys_of_every_listener() -> None:
    """Names, types and order are those of the class; the default endpoint is the protocol's."""
    expected = {**fields(Listen, without="settings"), "endpoint": ("string", "the protocol's")}
    assert list(rows("In every `[[listen]]`").items()) == list(expected.items())


@pytest.mark.parametrize("name", [name for name, plugin in protocols().items() if "brokerkit" in repr(plugin)])
def test_the_page_lists_each_protocols_settings(name: str) -> None:
    """Each protocol that comes with brokerkit has a table of its own settings, with type and default."""
    like = getattr(protocols()[name], "like", "")
    shared = fields(protocols()[like].settings()) if like else {}
    own = {key: row for key, row in fields(protocols()[name].settings()).items() if key not in shared}
    assert rows(HEADINGS.get(name, name)) == own
    assert (protocols()[name].default or "") in PAGE.read_text()


def test_the_pages_example_is_a_configuration(tmp_path: Path) -> None:
    """The page starts with a file that loads, with the protocols that come with brokerkit."""
    page = PAGE.read_text()
    example = page.split("```toml\n")[1].split("```")[0]
    assert page.startswith("# Configuration\n\n```toml\n")
    made = load(write(tmp_path, example), protocols())
    assert {listener.protocol for listener in made.listen} >= {"hpfeeds", "nats"}
    assert made.data_dir == str(tmp_path / "state")
    assert [value for value in attrs.astuple(made, recurse=False) if value is None] == []
