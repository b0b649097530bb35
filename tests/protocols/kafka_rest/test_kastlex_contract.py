"""What KastleX's documentation promises, line by line: each test is called after its line in the reference."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from brokerkit.cli import kastlex_environment
from brokerkit.cli.kastlex import config_of
from brokerkit.config import load
from brokerkit.log.groups_words import Commit, Joining
from brokerkit.log.words import TopicSettings
from brokerkit.plugin import protocols
from brokerkit.protocols.kafka_rest import tokens
from brokerkit.protocols.kafka_rest.plugin import DEFAULT
from tests.protocols.kafka_rest.kastlex_world import BINARY, PERMISSIONS, World, done, finished
from tests.talk import Line

if TYPE_CHECKING:
    from pathlib import Path

HEADERS = ((b"foo", b"1"), (b"bar", b"s"), (b"baz", b"null"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give KastleX's API with the users of its documentation."""
    return World(tmp_path)


@pytest.fixture
def stored(tmp_path: Path) -> World:
    """Give the same where tokens are stored."""
    return World(tmp_path, token_storage=True)


# -- start, defaults, tooling -----------------------------------------------------------------------------------------


def test_k1_one_command_starts_it() -> None:
    """There is one command that says what it does, and it needs nothing but variables."""
    shown = subprocess.run(
        [sys.executable, "-m", "brokerkit", "kastlex", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "KASTLEX_" in shown.stdout


def test_k2_http_on_port_8092(tmp_path: Path) -> None:
    """8092 is the port where none is said: of the protocol, and of the command."""
    assert ":port=8092:" in f"{DEFAULT}:"
    told = kastlex_environment.read({})
    assert config_of(told, tmp_path, "127.0.0.1", ()).listen[0].endpoint == "tcp:port=8092:interface=127.0.0.1"


def test_k3_no_kafka_is_needed(tmp_path: Path) -> None:
    """Without configuration there is a log of its own in the place of a cluster, in the data directory."""
    config = config_of(kastlex_environment.read({}), tmp_path, "127.0.0.1", ())
    assert config.data_dir == str(tmp_path)
    assert config.exporter is None
    assert [one.protocol for one in config.listen] == ["kafka"]


def test_k4_a_shell_with_everything_loaded(tmp_path: Path) -> None:
    """A program, or a Python shell, has the whole API in memory with nothing opened."""
    world = World(tmp_path)
    assert not world.memory.reactor.getDelayedCalls() or world.get("/api/v1/topics").json == ["kastlex"]


def test_k5_topics_are_not_made_by_a_produce(world: World) -> None:
    """The topic ``kastlex`` has one partition, and one that nobody has made does not come to be by a produce."""
    assert len(world.get("/api/v1/topics/kastlex").json["partitions"]) == 1
    assert world.post("/api/v1/messages/other", b"x", **world.login()).status == 404
    assert world.get("/api/v1/topics").json == ["kastlex"]


def test_k6_a_group_that_reads_is_seen_in_the_metrics(world: World) -> None:
    """While a group reads a topic, Prometheus finds its offsets, and those of the topic."""
    world.make("test-topic")
    world.put(b"a", b"b", b"c", topic="test-topic")
    done(world.commit("readers", (b"test-topic", 0), 2))
    shown = world.get("/metrics").body.decode()
    assert 'kafka_consumer_group_offset{consumer_group="readers", topic="test-topic", partition="0"} 2' in shown
    assert 'kafka_topic_offset{topic="test-topic", partition="0"} 3' in shown


def test_k7_it_runs_in_the_foreground(tmp_path: Path) -> None:
    """The command stays in the foreground, and ends with one line where it cannot start."""
    ended = subprocess.run(
        [sys.executable, "-m", "brokerkit", "kastlex", "--data-dir", str(tmp_path / "data")],
        cwd=tmp_path,
        env={**os.environ, "KASTLEX_PASSWD_FILE_PATH": "nowhere.yml"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "nowhere.yml" in ended.stderr
    assert "KASTLEX_PASSWD_FILE_PATH" in ended.stderr


# -- produce ----------------------------------------------------------------------------------------------------------


def test_k8_any_partition(world: World) -> None:
    """Without a partition in the path each of them is taken now and then, whatever the key."""
    world.make("wide", 3)
    admin = world.login()
    found = {
        world.post("/api/v1/messages/wide?key=same", b"x", **admin).headers["x-kafka-partition"] for _ in range(99)
    }
    assert found == {"0", "1", "2"}


def test_k9_a_partition_in_the_path(world: World) -> None:
    """That partition is taken, in both versions."""
    world.make("wide", 3)
    admin = world.login()
    for version in ("v1", "v2"):
        reply = world.post(f"/api/{version}/messages/wide/2", b"x", **admin)
        assert (reply.status, reply.headers["x-kafka-partition"]) == (204, "2")


@pytest.mark.parametrize(
    "kind", ["application/binary", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
)
def test_k10_the_type_does_not_matter(world: World, kind: str) -> None:
    """``application/binary`` is the type to use; of any other the body is kept as it is, too."""
    body = b'{"key": "inner"}'
    assert world.post("/api/v1/messages/kastlex?key=k", body, Content_Type=kind, **world.login()).status == 204
    found = world.get("/api/v2/messages/kastlex/0").json[0]
    assert (found["key"], found["value"]) == ("k", body.decode())


def test_k11_the_key(world: World) -> None:
    """The key is a parameter, decoded; without it there is none."""
    admin = world.login()
    world.post("/api/v1/messages/kastlex?key=a%20b%C3%A9", b"1", **admin)
    world.post("/api/v1/messages/kastlex", b"2", **admin)
    assert [one["key"] for one in world.get("/api/v2/messages/kastlex/0/0").json] == ["a bé", None]


def test_k12_the_value(world: World) -> None:
    """The value is the body, byte for byte, an empty one too."""
    admin = world.login()
    for body in (b"test-data", bytes(range(256)), b""):
        world.post("/api/v1/messages/kastlex", body, **admin)
        assert world.get("/api/v1/messages/kastlex/0", **BINARY).body == body


def test_k13_204_and_nothing(world: World) -> None:
    """Success is 204 with nothing in the body, and no type of it."""
    reply = world.post("/api/v1/messages/kastlex", b"x", **world.login())
    assert (reply.status, reply.body) == (204, b"")
    assert not {"content-type", "content-length"} & set(reply.headers)


def test_k14_the_partition_is_told(world: World) -> None:
    """``x-kafka-partition`` is where it was put."""
    assert world.post("/api/v1/messages/kastlex", b"x", **world.login()).headers["x-kafka-partition"] == "0"


def test_k15_the_offset_is_told(world: World) -> None:
    """``x-message-offset`` is where it was put, and there it is found."""
    world.put(b"a", b"b")
    reply = world.post("/api/v1/messages/kastlex", b"c", **world.login())
    assert reply.headers["x-message-offset"] == "2"
    assert world.get("/api/v1/messages/kastlex/0/2", **BINARY).body == b"c"


def test_k16_curl_without_a_login(tmp_path: Path) -> None:
    """The documented line works where anonymous may produce; with the documented rights it is refused."""
    kind = {"Content_Type": "application/binary"}
    assert World(tmp_path).post("/api/v1/messages/foo", b"bar", **kind).status == 403
    world = World(tmp_path, "anonymous:\n  produce: [foo]\n")
    world.make("foo")
    assert world.post("/api/v1/messages/foo", b"bar", **kind).status == 204


# -- fetch ------------------------------------------------------------------------------------------------------------


def test_k17_v1_with_and_without_an_offset(world: World) -> None:
    """Both forms of the path are there."""
    world.put(b"a", b"b")
    assert [one["value"] for one in world.get("/api/v1/messages/kastlex/0").json["messages"]] == ["b"]
    assert [one["value"] for one in world.get("/api/v1/messages/kastlex/0/0").json["messages"]] == ["a", "b"]


def test_k18_the_object_of_v1(world: World) -> None:
    """An object with ``size``, ``messages``, ``highWmOffset`` and ``error_code``."""
    world.put(b"a")
    found = world.get("/api/v1/messages/kastlex/0").json
    assert set(found) == {"size", "messages", "highWmOffset", "error_code"}
    assert (found["size"], found["highWmOffset"], found["error_code"]) == (None, 1, "no_error")


def test_k19_a_message(world: World) -> None:
    """The documented example comes out as documented."""
    world.put(b"test-data", headers=HEADERS, timestamp=1536157879011)
    assert world.get("/api/v1/messages/kastlex/0").json["messages"] == [
        {
            "value": "test-data",
            "key": None,
            "offset": 0,
            "ts_type": "create",
            "ts": 1536157879011,
            "headers": {"foo": "1", "baz": "null", "bar": "s"},
        }
    ]


def test_k20_v2_with_and_without_an_offset(world: World) -> None:
    """Both forms of the path are there."""
    world.put(b"a", b"b")
    assert [one["value"] for one in world.get("/api/v2/messages/kastlex/0").json] == ["b"]
    assert [one["value"] for one in world.get("/api/v2/messages/kastlex/0/1").json] == ["b"]


def test_k21_the_array_of_v2(world: World) -> None:
    """The bare messages of v1, with the high watermark in the head."""
    world.put(b"a", key=b"k")
    reply = world.get("/api/v2/messages/kastlex/0")
    assert reply.headers["x-high-wm-offset"] == "1"
    assert reply.json == world.get("/api/v1/messages/kastlex/0").json["messages"]


def test_k22_the_last_message(world: World) -> None:
    """Without an offset it is the last message."""
    world.put(b"a", b"b", b"c")
    assert [one["offset"] for one in world.get("/api/v2/messages/kastlex/0").json] == [2]


@pytest.mark.parametrize(
    ("offset", "given"),
    [("1", [1, 2]), ("last", [2]), ("latest", []), ("earliest", [0, 1, 2]), ("-2", [1, 2]), ("0", [0, 1, 2])],
)
def test_k23_forms_of_offsets(world: World, offset: str, given: list[int]) -> None:
    """A number is an exact offset; each form works in the path and as a parameter."""
    world.put(b"a", b"b", b"c")
    for target in (f"/api/v2/messages/kastlex/0/{offset}", f"/api/v2/messages/kastlex/0?offset={offset}"):
        reply = world.get(f"{target}{'&' if '?' in target else '?'}max_wait_time=0")
        assert [one["offset"] for one in reply.json] == given


def test_k24_negative_offsets(world: World) -> None:
    """They count from the next offset, -1 is the last; what is before the first is the first."""
    world.put(b"a", b"b", b"c")
    last = world.get("/api/v2/messages/kastlex/0/last")
    assert world.get("/api/v2/messages/kastlex/0/-1").json == last.json
    assert [one["offset"] for one in world.get("/api/v2/messages/kastlex/0/-99").json] == [0, 1, 2]


def test_k25_the_time_to_wait(world: World) -> None:
    """A fetch waits for a second, or as long as it says, and answers with what there is then: nothing."""
    world.line.begin("GET", "/api/v2/messages/kastlex/0/latest")
    world.advance(0.9)
    assert not world.line.received
    world.advance(0.2)
    assert world.line.reply().json == []
    world.line.begin("GET", "/api/v2/messages/kastlex/0/latest?max_wait_time=5000")
    world.advance(4.9)
    assert not world.line.received
    world.put(b"now")
    assert [one["value"] for one in world.line.reply().json] == ["now"]


def test_k26_the_least_bytes(world: World) -> None:
    """A fetch that wants more bytes than there are waits for them, or for the time."""
    world.put(b"12345")
    world.line.begin("GET", "/api/v2/messages/kastlex/0/0?min_bytes=8")
    assert not world.line.received
    world.put(b"6789")
    world.advance(0.05)
    assert len(world.line.reply().json) == 2
    world.line.begin("GET", "/api/v2/messages/kastlex/0/0?min_bytes=80")
    world.advance(0.9)
    assert not world.line.received
    world.advance(0.2)
    assert len(world.line.reply().json) == 2


def test_k26_the_least_bytes_in_binary(world: World) -> None:
    """They count for the fetch, of which one message is shown."""
    world.put(b"12345")
    world.line.begin("GET", "/api/v1/messages/kastlex/0/0?min_bytes=8", None, BINARY)
    assert not world.line.received
    world.advance(0.5)
    world.put(b"6789")
    assert world.line.reply().body == b"12345"


def test_k26_more_than_a_piece(world: World) -> None:
    """More than is read in one go is waited for, too; but never more than is given at most."""
    world.put(b"x" * 900_000, b"y" * 900_000)
    world.line.begin("GET", "/api/v2/messages/kastlex/0/0?min_bytes=2000000&max_bytes=4000000")
    assert not world.line.received
    world.advance(0.5)
    world.put(b"z" * 900_000)
    assert world.line.received.count(b'"offset"') == 3
    other = Line(world.service.site)
    assert len(other.ask("GET", "/api/v2/messages/kastlex/0/0?min_bytes=2000000&max_bytes=1000000").json) == 1
    other.begin("GET", "/api/v2/messages/kastlex/0/0?min_bytes=3000000&max_bytes=1500000")
    assert other.received.count(b'"offset"') in {1, 2}


def test_k27_the_most_bytes(world: World) -> None:
    """100 kB are given where nothing is said; one message always is, however large."""
    world.put(*[b"x" * 10_000] * 30)
    assert 9 <= len(world.get("/api/v2/messages/kastlex/0/0").json) <= 10
    assert len(world.get("/api/v2/messages/kastlex/0/0?max_bytes=1").json) == 1
    assert len(world.get("/api/v2/messages/kastlex/0/0?max_bytes=1000000").json) == 30


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html, application/json;q=0.9, */*;q=0.1"])
def test_k28_json(world: World, accept: str | None) -> None:
    """Where JSON is accepted, or nothing said, all messages come with what is known of them."""
    world.put(b"a", b"b")
    reply = world.get("/api/v1/messages/kastlex/0/0", **({"Accept": accept} if accept else {}))
    assert len(reply.json["messages"]) == 2
    assert reply.headers["content-type"].startswith("application/json")


def test_k29_binary(world: World) -> None:
    """The first message alone is the body, in both versions."""
    world.put(b"a\0\xff", b"b")
    for version in ("v1", "v2"):
        assert world.get(f"/api/{version}/messages/kastlex/0/0", **BINARY).body == b"a\0\xff"


def test_k30_the_head_of_binary(world: World) -> None:
    """The head says what JSON would, in the documented words."""
    world.put(b"x", headers=HEADERS, timestamp=1536228953642)
    found = world.get("/api/v2/messages/kastlex/0", **BINARY).headers
    assert found["content-type"] == "application/binary; charset=utf-8"
    assert found["x-high-wm-offset"] == "1"
    assert json.loads(found["x-message-headers"]) == {"foo": "1", "baz": "null", "bar": "s"}
    assert found["x-message-offset"] == "0"
    assert found["x-message-ts"] == "1536228953642"
    assert found["x-message-ts-type"] == ":create"
    assert 20 <= len(found["x-request-id"]) <= 200
    assert found["cache-control"] == "max-age=0, private, must-revalidate"


# -- offsets ----------------------------------------------------------------------------------------------------------


def test_k31_offsets(world: World) -> None:
    """The next offset, in an object."""
    world.put(*[b"x"] * 20)
    assert world.get("/api/v1/offsets/kastlex/0").json == {"offset": 20}


def test_k32_offsets_at(world: World) -> None:
    """``latest``, ``earliest``, or the first record that is not older than a time in ms."""
    for time in (1000, 2000, 3000):
        world.put(b"x", timestamp=time)
    at = {
        at: world.get(f"/api/v1/offsets/kastlex/0?at={at}").json["offset"]
        for at in ("latest", "earliest", "1500", "2000")
    }
    assert at == {"latest": 3, "earliest": 0, "1500": 1, "2000": 1}


# -- consumer groups, topics, brokers ---------------------------------------------------------------------------------


def _read_by(world: World) -> str:
    """Have a member of a group read and commit; give its id."""
    world.put(*[b"x"] * 20)
    joining = Joining(topics=(b"kastlex",), client_id="consumer-1", client_host="127.0.0.1", start="first")
    joined = finished(world.service.groups.join("readers", joining))
    place = {(b"kastlex", 0): Commit(20, "note", 1473627815481)}
    finished(world.service.groups.commit("readers", place, member=joined.member.id))
    return str(joined.member.id)


def test_k33_groups(world: World) -> None:
    """The names of all groups, in both versions."""
    assert world.get("/api/v1/consumers").json == []
    _read_by(world)
    assert world.get("/api/v1/consumers").json == world.get("/api/v2/consumers").json == ["readers"]


def test_k34_a_group(world: World) -> None:
    """What is documented, on top, and what the code gave, beside it."""
    member = _read_by(world)
    found = world.get("/api/v1/consumers/readers").json
    assert found["group_id"] == "readers"
    assert isinstance(found["generation_id"], int)
    assert found["protocol"] == "range"
    assert found["leader"] == member
    assert len(found["partitions"]) == len(found["members"]) == 1
    assert found["offsets"] == found["partitions"]
    assert found["status"]["members"] == found["members"]
    assert found["maxlag"] == 0


def test_k35_a_partition_of_a_group(world: World) -> None:
    """Offset, high watermark, metadata and times."""
    _read_by(world)
    found = world.get("/api/v1/consumers/readers").json["partitions"][0]
    assert (found["topic"], found["partition"], found["offset"], found["high_wm_offset"]) == ("kastlex", 0, 20, 20)
    assert (found["metadata"], found["metadata_encoding"]) == ("note", "text")
    assert found["commit_time"]
    assert "expire_time" in found
    assert found["lagging"] == 0


def test_k36_a_member_of_a_group(world: World) -> None:
    """Who it is, what it wants and what it has; ``topic_partitions`` is a map, as documented."""
    member = _read_by(world)
    found = world.get("/api/v1/consumers/readers").json["members"][0]
    assert (found["member_id"], found["client_id"], found["client_host"]) == (member, "consumer-1", "/127.0.0.1")
    assert found["session_timeout"] == 30000
    no_data = {"user_data": "", "user_data_encoding": "text"}
    assert found["subscription"] == {"version": 0, "topics": ["kastlex"], **no_data}
    assert found["assignment"] == {"version": 0, "topic_partitions": {"kastlex": [0]}, **no_data}


def test_k37_topics(world: World) -> None:
    """The names of all topics."""
    world.make("a.b", 2)
    assert world.get("/api/v1/topics").json == ["a.b", "kastlex"]


def test_k38_a_topic(world: World) -> None:
    """Its partitions, each with its replicas, and its configuration."""
    world.make("wide", 2, retention_seconds=60, compact=True)
    assert world.get("/api/v1/topics/wide").json == {
        "topic": "wide",
        "partitions": [{"replicas": [0], "partition": i, "leader": 0, "isr": [0]} for i in range(2)],
        "config": {"cleanup.policy": "compact", "retention.ms": "60000"},
    }
    assert world.get("/api/v1/topics/kastlex").json["config"] == {}


def test_k39_brokers(world: World) -> None:
    """One broker, in the words of the documentation and of the code."""
    (found,) = world.get("/api/v1/brokers").json
    assert {"port", "id", "host", "endpoints", "node_id", "rack"} <= set(found)
    assert found["id"] == found["node_id"] == 0
    assert found["endpoints"] == [f"PLAINTEXT://{found['host']}:{found['port']}"]


def test_k40_a_broker(world: World) -> None:
    """One by its number; another number is none."""
    assert world.get("/api/v1/brokers/0").json == world.get("/api/v1/brokers").json[0]
    reply = world.get("/api/v1/brokers/1")
    assert (reply.status, reply.json["error"]) == (404, "unknown broker id")


def test_k41_no_partition_lacks_replicas(world: World) -> None:
    """There is nothing to report: 204."""
    reply = world.get("/api/v1/urp")
    assert (reply.status, reply.body) == (204, b"")


def test_k42_nor_one_of_a_topic(world: World) -> None:
    """204 for a topic, 404 for what is none."""
    assert world.get("/api/v1/urp/kastlex").status == 204
    reply = world.get("/api/v1/urp/none")
    assert (reply.status, reply.json["error"]) == (404, "unknown topic")


# -- users, permissions, tokens ---------------------------------------------------------------------------------------


def test_k43_two_files(world: World) -> None:
    """Who may log in stands in one, what each may do in the other; both count together."""
    assert world.post("/api/v1/messages/kastlex", b"x", **world.login("user1")).status == 204
    assert world.get("/admin/reload", **world.login("user1")).status == 403


ROUTES = {
    "list_topics": "/api/v1/topics",
    "show_topic": "/api/v1/topics/kastlex",
    "list_brokers": "/api/v1/brokers",
    "show_broker": "/api/v1/brokers/0",
    "show_offsets": "/api/v1/offsets/kastlex/0",
    "fetch": "/api/v1/messages/kastlex/0",
    "list_urps": "/api/v1/urp",
    "show_urps": "/api/v1/urp/kastlex",
    "list_groups": "/api/v1/consumers",
    "show_group": "/api/v1/consumers/g",
    "produce": "POST /api/v1/messages/kastlex",
    "reload": "/admin/reload",
    "revoke": "DELETE /admin/tokens/user1",
}
NAMED = {"show_topic", "show_broker", "show_offsets", "fetch", "show_urps", "show_group", "produce"}


@pytest.mark.parametrize("action", ROUTES)
def test_k44_actions(tmp_path: Path, action: str) -> None:
    """Each action opens its own route, and no other one."""
    world = World(tmp_path, f"anonymous:\n  {action}: {'all' if action in NAMED else 'true'}\n", token_storage=True)
    world.put(b"x")
    open_to = {name for name, route in ROUTES.items() if _ask(world, route).status not in {401, 403}}
    assert open_to == {action}


def _ask(world: World, route: str):  # noqa: ANN202  a reply
    method, _, target = route.rpartition(" ")
    return world.ask(method or "GET", target, b"x" if method == "POST" else None)


@pytest.mark.parametrize("action", sorted(NAMED))
def test_k45_lists_of_names(tmp_path: Path, action: str) -> None:
    """A list allows those names alone; a broker is named by its number, as a string."""
    names = {"show_broker": "0", "show_group": "g"}
    world = World(tmp_path, f'anonymous:\n  {action}: ["{names.get(action, "kastlex")}"]\n')
    world.put(b"x")
    assert _ask(world, ROUTES[action]).status != 403
    world.permissions.write_text(f'anonymous:\n  {action}: ["another"]\n')
    world.reread()
    assert _ask(world, ROUTES[action]).status == 403


def test_k46_anonymous(tmp_path: Path) -> None:
    """Whoever shows nothing has the rights of ``anonymous``, and none at all without it: 403, not 401."""
    assert World(tmp_path).get("/api/v1/topics").status == 200
    world = World(tmp_path, "user1:\n  list_topics: true\n")
    assert world.get("/api/v1/topics").status == 403
    assert world.get("/api/v1/topics").json["error"] == "Unauthorized"
    assert world.get("/api/v1/topics", **world.login("user1")).status == 200


def test_k47_bcrypt(world: World) -> None:
    """The password has to fit the hash."""
    assert world.post("/login", b"username=user1&password=user1").status == 200
    assert world.post("/login", b"username=user1&password=admin").status == 401


def test_k48_a_command_makes_hashes(world: World) -> None:
    """``brokerkit hashpw PASSWORD`` prints a hash that can be logged in with."""
    made = subprocess.run(
        [sys.executable, "-m", "brokerkit", "hashpw", "new"], capture_output=True, text=True, timeout=60, check=True
    )
    assert re.fullmatch(r"\$2b\$12\$[A-Za-z0-9./]{53}\n", made.stdout)
    world.passwd.write_text(f'new:\n  password_hash: "{made.stdout.strip()}"\n')
    world.reread()
    assert world.post("/login", b"username=new&password=new").status == 200


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"username=user1&password=user1"),
        ("application/json", b'{"username": "user1", "password": "user1"}'),
    ],
)
def test_k49_login(world: World, kind: str, body: bytes) -> None:
    """A form, or JSON, is answered with a token that says who it is for."""
    reply = world.post("/login", body, Content_Type=kind)
    assert reply.status == 200
    found = tokens.read(reply.json["token"], world.service.tokens._public)
    assert found.name == "user1"
    assert (found.every["iss"], found.every["sub"], found.every["aud"]) == ("Kastlex", "user:user1", "user:user1")
    assert found.every["typ"] == "access"


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   ", "Bearer: "])
def test_k50_bearer(world: World, scheme: str) -> None:
    """The token is shown in Authorization, in any case of the word, and with a colon if one likes."""
    token = world.login("user1")["Authorization"].removeprefix("Bearer ")
    assert world.post("/api/v1/messages/kastlex", b"x", Authorization=f"{scheme}{token}").status == 204


def test_k51_reload(world: World) -> None:
    """New permissions count as soon as a reload is answered, with 204, also for who is logged in."""
    admin, user = world.login(), world.login("user1")
    assert world.get("/admin/reload", **user).status == 403
    world.permissions.write_text(PERMISSIONS.replace("user1:\n", "user1:\n  reload: true\n"))
    world.line.begin("GET", "/admin/reload", headers=admin)
    world.settle()
    assert world.line.reply().status == 204
    world.line.begin("GET", "/admin/reload", headers=user)
    world.settle()
    assert world.line.reply().status == 204


def test_k52_produce_with_the_token(world: World) -> None:
    """``user1`` may produce to ``kastlex``, and to nothing else."""
    world.make("other")
    user = world.login("user1")
    assert world.post("/api/v1/messages/kastlex/0", b"1", Content_type="application/binary", **user).status == 204
    assert world.post("/api/v1/messages/other/0", b"1", **user).status == 403


def test_k53_two_ways_of_tokens(tmp_path: Path) -> None:
    """Without storage several tokens are good until they expire; with it the last one is, until it is taken back."""
    world = World(tmp_path, token_ttl_seconds=60)
    first, second = world.login(), world.login()
    assert [world.get("/api/v1/messages/kastlex/0/latest?max_wait_time=0", **x).status for x in (first, second)] == [
        200
    ] * 2
    world.advance(61)
    assert world.get("/api/v1/topics", **first).status == 401
    stored = World(tmp_path, token_storage=True)
    first, second = stored.login("user1"), stored.login("user1")
    assert stored.post("/api/v1/messages/kastlex", b"x", **first).status == 401
    assert stored.post("/api/v1/messages/kastlex", b"x", **second).status == 204


def test_k54_a_compacted_topic(stored: World) -> None:
    """Tokens are kept in a compacted topic with one partition, by the user's name; what is kept is no token."""
    token = stored.login()["Authorization"]
    topic = stored.log.topic(b"_kastlex_tokens")
    assert (topic.partitions, topic.settings) == (1, TopicSettings(compact=True))
    (record,) = done(stored.log.fetch(b"_kastlex_tokens", 0, 0)).records
    assert record.key == b"user:admin"
    assert token.removeprefix("Bearer ").encode() not in record.value


def test_k55_storage_is_switched_on(tmp_path: Path) -> None:
    """By the configuration, and by the variable."""
    assert not World(tmp_path).service.tokens.can_revoke
    assert World(tmp_path, token_storage=True).service.tokens.can_revoke
    assert kastlex_environment.read({"KASTLEX_ENABLE_TOKEN_STORAGE": "1"}).settings.token_storage
    assert not kastlex_environment.read({"KASTLEX_ENABLE_TOKEN_STORAGE": "0"}).settings.token_storage


def test_k56_the_name_of_that_topic(tmp_path: Path) -> None:
    """By the configuration, and by the variable."""
    world = World(tmp_path, token_storage=True, token_storage_topic="mine")
    world.login()
    assert world.get("/api/v1/topics").json == ["kastlex", "mine"]
    told = kastlex_environment.read({"KASTLEX_TOKEN_STORAGE_TOPIC": "mine"})
    assert told.settings.token_storage_topic == "mine"


def test_k57_the_lifetime(tmp_path: Path) -> None:
    """Thirty days, or as long as the variable says."""
    world = World(tmp_path)
    token = world.login()["Authorization"].removeprefix("Bearer ")
    claims = tokens.read(token, world.service.tokens._public)
    assert claims.expires - claims.every["iat"] == 30 * 24 * 3600
    told = kastlex_environment.read({"KASTLEX_TOKEN_TTL_SECONDS": "315360000"})
    assert told.settings.token_ttl_seconds == 315360000


def test_k58_revoke(stored: World) -> None:
    """The token is refused from then on, and the next one is good."""
    admin, user = stored.login(), stored.login("user1")
    assert stored.post("/api/v1/messages/kastlex", b"x", **user).status == 204
    assert stored.ask("DELETE", "/admin/tokens/user1", **user).status == 403
    assert stored.ask("DELETE", "/admin/tokens/user1", **admin).status == 204
    assert stored.post("/api/v1/messages/kastlex", b"x", **user).status == 401
    assert stored.post("/api/v1/messages/kastlex", b"x", **stored.login("user1")).status == 204


# -- production settings ----------------------------------------------------------------------------------------------


def test_k59_the_key_that_signs(tmp_path: Path) -> None:
    """A P-521 key in PEM, as openssl makes it; the variable says where it is."""
    path = tmp_path / "jwk.pem"
    key = tokens.key_of("", None, "test")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    path.write_bytes(pem)
    assert b"BEGIN EC PRIVATE KEY" in pem
    world = World(tmp_path, jwk_file=str(path))
    token = world.login()["Authorization"].removeprefix("Bearer ")
    assert tokens.read(token, key.public_key()).name == "admin"
    assert kastlex_environment.read({"KASTLEX_JWK_FILE": str(path)}).settings.jwk_file == str(path)


@pytest.mark.parametrize("value", ["/etc/kastlex/secret", "QmFzZTY0IHdpdGhvdXQgcGFkZGluZw"])
def test_k60_the_secret_key_base(value: str) -> None:
    """It may be a path or the string itself: nothing here needs it, and nothing is said about it."""
    assert not kastlex_environment.read({"KASTLEX_SECRET_KEY_BASE": value}).warnings


def test_k61_where_the_files_are() -> None:
    """Beside the program, or where the variables say."""
    told = kastlex_environment.read({})
    assert (told.permissions, told.passwd) == ("./permissions.yml", "./passwd.yml")
    told = kastlex_environment.read({"KASTLEX_PERMISSIONS_FILE_PATH": "/a", "KASTLEX_PASSWD_FILE_PATH": "/b"})
    assert (told.permissions, told.passwd) == ("/a", "/b")


def test_k62_the_cluster_is_warned_of() -> None:
    """There is no cluster to be used, and one line says so."""
    (warning,) = kastlex_environment.read({"KASTLEX_KAFKA_CLUSTER": "a:9092,b:9092"}).warnings
    assert "KASTLEX_KAFKA_CLUSTER" in warning


def test_k63_the_port(tmp_path: Path) -> None:
    """The variable says it."""
    told = kastlex_environment.read({"KASTLEX_HTTP_PORT": "8099"})
    assert config_of(told, tmp_path, "127.0.0.1", ()).listen[0].endpoint == "tcp:port=8099:interface=127.0.0.1"


@pytest.mark.parametrize("switch", ["true", "1"])
def test_k64_https(tmp_path: Path, switch: str) -> None:
    """The switch alone is enough: HTTPS at 8093, beside HTTP, with the files at the usual place or where it is said."""
    told = kastlex_environment.read({"KASTLEX_USE_HTTPS": switch})
    assert (told.https, told.certificate, told.key) == (
        8093,
        "/etc/kastlex/ssl/server.crt",
        "/etc/kastlex/ssl/server.key",
    )
    variables = {"HTTPS_PORT": "9", "CERTFILE": "/c", "KEYFILE": "/k", "CACERTFILE": "/a", "USE_HTTPS": switch}
    told = kastlex_environment.read({f"KASTLEX_{name}": value for name, value in variables.items()})
    plain, secure = config_of(told, tmp_path, "127.0.0.1", ()).listen
    assert plain.endpoint.startswith("tcp:port=8092:")
    assert secure.endpoint == "tls:port=9:interface=127.0.0.1:key=/k:cert=/c:chain=/a"
    assert kastlex_environment.read({"KASTLEX_USE_HTTPS": "yes"}).https is None


@pytest.mark.parametrize(
    "name", ["KAFKA_USE_SSL", "KAFKA_CACERTFILE", "KAFKA_CERTFILE", "KAFKA_KEYFILE"], ids=lambda name: name.lower()
)
def test_k65_tls_to_the_cluster_is_warned_of(name: str) -> None:
    """There is no cluster to be used, and one line says so."""
    (warning,) = kastlex_environment.read({f"KASTLEX_{name}": "1"}).warnings
    assert f"KASTLEX_{name}" in warning


def test_k66_sasl_is_warned_of() -> None:
    """There is no cluster to be used, and one line says so, without what is in the file."""
    (warning,) = kastlex_environment.read({"KASTLEX_KAFKA_SASL_FILE": "/etc/kastlex/sasl.yml"}).warnings
    assert "KASTLEX_KAFKA_SASL_FILE" in warning


@pytest.mark.parametrize("name", kastlex_environment.PRODUCER)
def test_k67_producer_tuning_is_warned_of(name: str) -> None:
    """There is nothing to tune, and one line says so."""
    (warning,) = kastlex_environment.read({f"KASTLEX_{name}": "1"}).warnings
    assert f"KASTLEX_{name}" in warning


def test_every_line_has_a_test() -> None:
    """K1 to K67, none is left out."""
    here = {int(found[1]) for name in globals() if (found := re.match(r"test_k(\d+)_", name))}
    assert here == set(range(1, 68))


def test_it_is_a_protocol_like_others(tmp_path: Path) -> None:
    """A ``[[listen]]`` table has it, with its settings."""
    path = tmp_path / "broker.toml"
    path.write_text('[[listen]]\nprotocol = "kafka"\ntoken_storage = true\n')
    (listen,) = load(str(path), protocols()).listen
    assert (listen.endpoint, listen.settings.token_storage) == (DEFAULT, True)
