"""``bpbroker.json``: what is read, how it is merged, and what it says of a listener."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.errors import OperatorError
from brokerkit.protocols.bpbroker import document as doc
from brokerkit.protocols.bpbroker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.dictionaries(st.text(), one), max_leaves=8
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"b\.json:1: is no JSON"),
        (b'{\n"a": {},\n}', r"b\.json:3: is no JSON: .* at column 1"),
        (b"[]", r"b\.json: file: found a list, expected an object"),
        (b'{"api": 5}', r"b\.json: api: found a number, expected an object"),
        (b'{"services": null}', r"b\.json: services: found null, expected an object"),
        (b'{"services": {"_access_key": ["secret"]}}', r"services\._access_key: found a list, expected a string"),
        (b"\xff\xfe{", r"b\.json.* is no JSON"),
        (b"[" * 100_000, r"b\.json.* is no JSON"),
    ],
)
def test_what_cannot_be_used(content: bytes, words: str) -> None:
    """It is one line that names file and line or key, what was found and what was expected, and shows no secret."""
    with pytest.raises(OperatorError, match=words) as caught:
        doc.parse(content, "b.json")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is named; among layers it is passed over."""
    with pytest.raises(OperatorError, match=r"nothing\.json: cannot be read"):
        doc.read(tmp_path / "nothing.json")
    assert doc.layers([tmp_path / "nothing.json"]) == doc.DEFAULTS


def test_layers(tmp_path: Path) -> None:
    """Defaults, files and the command line, each over those before, object by object."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text(json.dumps({"api": {"listen_port": 1, "listen_ip": "::1"}, "services": {"a": {"x": 1}}}))
    two.write_text(json.dumps({"api": {"listen_port": 2}, "services": {"_access_key": "k"}}))
    found = doc.layers([one, two], {"api": {"ssl_key": "k"}})
    assert found["api"] == {"listen_port": 2, "listen_ip": "::1", "ssl_cert": "", "ssl_key": "k"}
    assert found["services"] == {"a": {"x": 1}, "_access_key": "k"}
    assert found["_config"] == {"backup_freq_secs": 3600, "backup_retain_n": 24}


@given(below=OBJECTS, above=OBJECTS)
def test_merging_takes_nothing_away(below: dict[str, Any], above: dict[str, Any]) -> None:
    """Every member of both is there, what is said above counts, and neither is changed."""
    before = json.dumps([below, above])
    merged = doc.merge(below, above)
    assert merged.keys() == below.keys() | above.keys()
    assert doc.merge(merged, above) == merged
    assert json.dumps([below, above]) == before


def test_entries_and_keys() -> None:
    """The registry is what does not begin with an underscore; stamps become where and when, keys stay apart."""
    found = {
        "services": {
            "_access_key": "k",
            "a": {"x": 1, "last_write_ip": "10.0.0.1", "last_write_ts": 1_400_000_000},
            "b": {"_str": "t"},
            "c": "text",
            "d": {"last_write_ip": 5},
            "": {},
        },
        "ossec": {"_access_key": ""},
        "ping": {},
        "_secret": {"_access_key": "z"},
    }
    assert doc.entries(found) == [
        doc.Imported("a", {"x": 1}, ("10.0.0.1", 1_400_000_000)),
        doc.Imported("b", {"_str": "t"}, None),
        doc.Imported("c", {"_str": "text"}, None),
        doc.Imported("d", {}, None),
    ]
    assert doc.access_keys(found)["services"] == "k"
    assert "ossec" not in doc.access_keys(found)
    assert list(doc.extensions(found)) == ["ossec"]
    assert doc.view(found, {"n": {}})["services"] == {"_access_key": "k", "": {}, "n": {}}


def test_the_section_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Port, address, key and certificate make the endpoint; what else it says are settings."""
    monkeypatch.setattr("socket.has_dualstack_ipv6", lambda: True)
    assert doc.of_api(doc.layers([]), "b.json")[0] == r"tls:port=20443:interface=\:\:"
    api = {"listen_port": 1, "listen_ip": "10.0.0.1", "ssl_key": "/k:1", "ssl_cert": "c", "legacy_get_writes": True}
    endpoint, settings = doc.of_api(doc.layers([], {"api": {**api, "discovery_networks": ["10.0.0.0/8"]}}), "b.json")
    assert endpoint == r"tls:port=1:interface=10.0.0.1:key=/k\:1:cert=c"
    assert (settings.legacy_get_writes, settings.discovery_networks) == (True, ("10.0.0.0/8",))
    assert (settings.backup_freq_secs, settings.backup_retain_n, settings.healthcheck_freq_sec) == (3600, 24, 10)


@pytest.mark.parametrize(
    ("section", "said", "words"),
    [
        ("api", {"listen_port": 70_000}, "api.listen_port: found 70000, expected a port"),
        ("api", {"listen_port": "x"}, "api.listen_port: found a string, expected a number"),
        ("api", {"listen_ip": 5}, "api.listen_ip: found a number, expected a string"),
        ("api", {"mdns": "yes"}, "api.mdns: found a string, expected true or false"),
        ("api", {"discovery_key": 5}, "api.discovery_key: found a number, expected a string"),
        ("api", {"discovery_networks": "x"}, "api.discovery_networks: found a string, expected a list"),
        ("_config", {"backup_retain_n": -1}, "_config.backup_retain_n: found -1, expected a number"),
        ("_config", {"backup_freq_secs": True}, "_config.backup_freq_secs: found a boolean"),
        ("_global", {"healthcheck_freq_sec": None}, "_global.healthcheck_freq_sec: found null"),
    ],
)
def test_values_that_cannot_be_meant(section: str, said: dict[str, Any], words: str) -> None:
    """Each is named with its section, what was found and what was expected."""
    with pytest.raises(OperatorError, match=words):
        doc.of_api(doc.layers([], {section: said}), "b.json")


def test_a_listener_decides_before_the_file() -> None:
    """What the listener is told counts; what it leaves open, the file says."""
    found = doc.settings({"_config": {"backup_freq_secs": 5, "backup_retain_n": 6}}, "b", Settings(backup_retain_n=1))
    assert (found.backup_freq_secs, found.backup_retain_n, found.healthcheck_freq_sec) == (5, 1, 10)


def test_no_secret_in_a_repr() -> None:
    """The discovery key is not shown."""
    assert "s3cret" not in repr(Settings(discovery_key="s3cret"))
