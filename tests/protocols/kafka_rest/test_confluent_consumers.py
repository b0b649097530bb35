"""Consumer instances of Confluent's API: made, subscribed, read, committed, expired, and there after a restart."""

from __future__ import annotations

import pytest

from brokerkit.log.words import Topic
from tests.protocols.kafka_rest.confluent_world import BINARY, JSON, PLAIN, World, code


@pytest.fixture
def world() -> World:
    """Give a broker with a topic of two partitions that has records in both."""
    world = World()
    world.broker.log.create(Topic("", b"two", "", 2))
    for partition in (0, 1):
        body = {"records": [{"value": f"{partition}-{i}"} for i in range(3)]}
        world.ask("POST", f"/topics/two/partitions/{partition}", body, Content_Type=JSON)
    return world


# -- coming and going -------------------------------------------------------------------------------------------------


def test_made_and_deleted(world: World) -> None:
    """An instance has an id and an address with the host that was asked; when it is deleted it is gone."""
    reply = world.ask("POST", "/consumers/g", {"name": "c", "format": "json"})
    expected = {"instance_id": "c", "base_uri": "http://test/consumers/g/instances/c"}
    assert (reply.status, reply.headers["content-type"], reply.json) == (200, PLAIN, expected)
    assert code(world.ask("POST", "/consumers/g", {"name": "c"})) == (409, 40902)
    assert world.ask("POST", "/consumers/h", {"name": "c"}).status == 200
    assert world.ask("DELETE", "/consumers/g/instances/c").status == 204
    assert code(world.ask("DELETE", "/consumers/g/instances/c")) == (404, 40403)
    assert code(world.ask("GET", "/consumers/g/instances/c/records")) == (404, 40403)
    assert world.ask("POST", "/consumers/g", {"name": "c"}).status == 200


def test_names_are_made_up(world: World) -> None:
    """Without a name, or without a body, an instance gets a name of its own; a name may hold anything."""
    made = [world.ask("POST", "/consumers/g", body).json["instance_id"] for body in (None, {}, {"name": ""})]
    assert len(set(made)) == 3
    assert world.ask("POST", "/consumers/g/").status == 200
    uri = world.ask("POST", "/consumers/a%2Fb", {"name": "ü/x"}).json["base_uri"]
    assert uri == "http://test/consumers/a%2Fb/instances/%C3%BC%2Fx"
    assert world.ask("DELETE", uri.removeprefix("http://test")).status == 204


@pytest.mark.parametrize(
    "settings",
    [
        *({"format": "avro"}, {"format": 5}, {"auto.offset.reset": "none"}, {"auto.offset.reset": []}),
        *({"auto.commit.enable": "perhaps"}, {"fetch.min.bytes": "x"}, {"consumer.request.timeout.ms": []}),
        *({"fetch.min.bytes": True}, {"format": []}),
    ],
)
def test_settings_that_are_refused(world: World, settings: dict[str, object]) -> None:
    """A setting that cannot be is 42204, and the message names it."""
    reply = world.ask("POST", "/consumers/g", settings)
    assert code(reply) == (422, 42204)
    assert next(iter(settings)) in reply.json["message"]


@pytest.mark.parametrize("body", [b"[]", b"5", b"{", b'{"name": 5}', b'{"name": "\\ud800"}', b'{"name": "\\n"}'])
def test_bodies_that_are_refused(world: World, body: bytes) -> None:
    """What is no object, and a name that is none, is 422."""
    assert code(world.ask("POST", "/consumers/g", body)) == (422, 422)


def test_too_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user can have so many instances and no more; others still can."""
    monkeypatch.setattr("brokerkit.protocols.kafka_rest.confluent_instances.MOST_EACH", 2)
    world.consumer(name="a")
    world.consumer(name="b")
    assert code(world.ask("POST", "/consumers/g", {"name": "c"})) == (503, 503)
    world.consumer(name="c", user="bob")
    world.ask("DELETE", "/consumers/g/instances/a")
    world.consumer(name="d")


# -- subscribing and reading ------------------------------------------------------------------------------------------


def test_the_first_poll_gives_records(world: World) -> None:
    """There is no empty first answer: what is there is given at once, in the order of each partition."""
    consumer = world.consumer()
    assert consumer.subscribe("two").status == 204
    reply = consumer.ask("GET", "/records", Accept=JSON)
    assert reply.headers["content-type"] == JSON
    found = [(one["topic"], one["partition"], one["offset"], one["value"]) for one in reply.json]
    assert sorted(found) == [("two", p, i, f"{p}-{i}") for p in (0, 1) for i in range(3)]
    assert consumer.read() == []


def test_reading_waits_for_records(world: World) -> None:
    """A question that finds nothing waits, and is answered when something comes, or when the time is over."""
    consumer = world.consumer()
    consumer.subscribe("two")
    consumer.read()
    line = world.begin("GET", f"{consumer.path}/records?timeout=3000")
    assert line.received == b""
    world.produce("two", "new")
    world.advance(0.1)
    assert [one["value"] for one in line.reply().json] == ["new"]
    line = world.begin("GET", f"{consumer.path}/records?timeout=3000")
    world.advance(3)
    assert line.reply().json == []


def test_latest_is_when_it_subscribed(world: World) -> None:
    """With "latest", what comes between the subscription and the first question is given, what was before is not."""
    consumer = world.consumer(**{"auto.offset.reset": "latest"})
    consumer.subscribe("two")
    world.produce("two", "new")
    assert consumer.values() == ["new"]


def test_a_topic_that_comes_later(world: World) -> None:
    """A topic that a rule names can be subscribed to before it is there, and is read from its first record."""
    consumer = world.consumer(**{"auto.offset.reset": "latest"})
    assert consumer.subscribe("logs.new", "two").status == 204
    assert consumer.values() == []
    world.produce("logs.new", 1)
    assert consumer.values() == [1]


def test_a_pattern(world: World) -> None:
    """A regular expression stands for all topics whose whole name fits, also later ones, that may be read."""
    world.produce("logs.a", "a")
    consumer = world.consumer(user="logs")
    assert consumer.ask("POST", "/subscription", {"topic_pattern": r"(logs\..*|two)"}).status == 204
    assert consumer.ask("GET", "/subscription").json == {"topics": ["logs.a"]}
    assert consumer.values() == ["a"]
    world.produce("logs.b", "b")
    world.produce("wide", "w")
    assert consumer.values() == ["b"]


def test_an_evil_pattern_costs_nothing(world: World) -> None:
    """An expression that would take Python for ever is matched at once; one that is none is 422."""
    world.produce("logs." + "a" * 200 + "!", 1)
    consumer = world.consumer()
    assert consumer.ask("POST", "/subscription", {"topic_pattern": r"logs\.(a+)+$"}).status == 204
    assert consumer.values() == []
    assert consumer.ask("DELETE", "/subscription").status == 204
    for pattern in ("(", "a" * 2000, "", "\ud800", 5, r"(?<=a)b"):
        assert code(consumer.ask("POST", "/subscription", {"topic_pattern": pattern})) == (422, 422), pattern


@pytest.mark.parametrize(
    "body",
    [None, b"{", {}, {"topics": []}, {"topics": "two"}, {"topics": [5]}, {"topics": ["two"], "topic_pattern": "x"}],
)
def test_subscriptions_that_are_none(world: World, body: object) -> None:
    """They are 422."""
    assert code(world.consumer().ask("POST", "/subscription", body)) == (422, 422)


def test_subscriptions_and_assignments_exclude_each_other(world: World) -> None:
    """The one after the other is 40903; reading without any of them, too."""
    consumer = world.consumer()
    place = {"partitions": [{"topic": "two", "partition": 0}]}
    assert code(consumer.ask("GET", "/records")) == (409, 40903)
    assert consumer.subscribe("two").status == 204
    assert code(consumer.ask("POST", "/assignments", place)) == (409, 40903)
    assert consumer.ask("DELETE", "/subscription").status == 204
    assert consumer.ask("GET", "/subscription").json == {"topics": []}
    assert consumer.ask("POST", "/assignments", place).status == 204
    assert code(consumer.subscribe("two")) == (409, 40903)


def test_two_instances_share(world: World) -> None:
    """Instances of one group get a partition each; what one leaves, the other takes over where it was committed."""
    first, second = world.consumer(name="a"), world.consumer(name="b")
    first.subscribe("two")
    second.subscribe("two")
    first.read()
    second.read()
    mine = [one.ask("GET", "/assignments").json["partitions"] for one in (first, second)]
    assert sorted(place["partition"] for some in mine for place in some) == [0, 1]
    assert [len(some) for some in mine] == [1, 1]
    first.ask("DELETE")
    world.produce("two", "x", partition=mine[0][0]["partition"])
    world.advance(1)
    assert "x" in second.values()


def test_the_first_version_reads_a_topic(world: World) -> None:
    """``/topics/TOPIC`` below an instance subscribes it to that and reads, as clients of v1 do."""
    consumer = world.consumer(format="binary")
    reply = consumer.ask("GET", "/topics/two", Accept="application/vnd.kafka.binary.v1+json")
    assert (reply.headers["content-type"], len(reply.json)) == ("application/vnd.kafka.binary.v1+json", 6)


def test_the_format_is_the_instances(world: World) -> None:
    """Another one in Accept is 40601."""
    consumer = world.consumer()
    consumer.subscribe("two")
    assert code(consumer.ask("GET", "/records", Accept=BINARY)) == (406, 40601)
    assert len(consumer.read()) == 6


def test_bounds_of_an_answer(world: World) -> None:
    """``max_bytes`` bounds an answer, and there is at least one record in it; junk is 422."""
    consumer = world.consumer()
    consumer.subscribe("two")
    assert len(consumer.ask("GET", "/records?max_bytes=1").json) == 1
    assert code(consumer.ask("GET", "/records?max_bytes=x")) == (422, 422)
    assert code(consumer.ask("GET", "/records?timeout=-1")) == (422, 422)


# -- committing -------------------------------------------------------------------------------------------------------


def test_what_was_given_is_committed_with_the_next_question(world: World) -> None:
    """That is "auto.commit.enable"; without it nothing is committed by itself, and is given again after a restart."""
    for switch, left in (("true", 0), ("false", 6)):
        consumer = world.consumer(group=switch, **{"auto.commit.enable": switch})
        consumer.subscribe("two")
        assert len(consumer.read()) == 6
        assert consumer.read() == []
        world.restart()
        assert len(consumer.read()) == left, switch


def test_committing_by_hand(world: World) -> None:
    """A commit names the record that is done with, so the next one is committed, also after a restart."""
    consumer = world.consumer(**{"auto.commit.enable": False})
    consumer.subscribe("two")
    consumer.read()
    body = {"offsets": [{"topic": "two", "partition": 0, "offset": 1, "metadata": "note"}]}
    reply = consumer.ask("POST", "/offsets", body)
    assert (reply.status, reply.json) == (200, [{"topic": "two", "partition": 0, "consumed": 2, "committed": 2}])
    asked = {"partitions": [{"topic": "two", "partition": 0}]}
    expected = {"offsets": [{"topic": "two", "partition": 0, "offset": 2, "metadata": "note"}]}
    assert consumer.ask("GET", "/offsets", asked).json == expected
    assert consumer.ask("GET", "/offsets?topic=two&partition=0").json == expected
    world.restart()
    assert consumer.ask("GET", "/offsets", asked).json == expected
    assert [one["offset"] for one in consumer.read() if one["partition"] == 0] == [2]


def test_an_empty_commit_is_of_all_that_was_given(world: World) -> None:
    """A body is not needed."""
    consumer = world.consumer(**{"auto.commit.enable": "false"})
    consumer.subscribe("two")
    consumer.read()
    reply = consumer.ask("POST", "/offsets")
    assert sorted(one["committed"] for one in reply.json) == [3, 3]
    world.restart()
    assert consumer.read() == []


def test_commits_that_are_refused(world: World) -> None:
    """Of a partition that is another's, or an offset that is not there."""
    consumer = world.consumer()
    consumer.subscribe("two")

    def commit(topic: str, partition: object, offset: object) -> tuple[int, int]:
        place = {"topic": topic, "partition": partition, "offset": offset}
        return code(consumer.ask("POST", "/offsets", {"offsets": [place]}))

    assert commit("two", 0, 99) == (422, 422)
    assert commit("two", 0, -1) == (422, 422)
    assert commit("two", "0", 1) == (422, 422)
    assert commit("two", 9, 1) == (404, 40402)
    assert commit("nothing", 0, 1) == (404, 40401)
    world.produce("wide", 1)
    assert commit("wide", 0, 0) == (409, 40903)


# -- positions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["subscription", "assignments"])
def test_positions(world: World, by: str) -> None:
    """An instance can be sent to an offset, to the beginnings and to the ends, however it reads."""
    consumer = world.consumer()
    places = [{"topic": "two", "partition": i} for i in (0, 1)]
    consumer.ask("POST", f"/{by}", {"topics": ["two"]} if by == "subscription" else {"partitions": places})
    assert len(consumer.read()) == 6
    body = {"offsets": [{"topic": "two", "partition": 1, "offset": 2}]}
    assert consumer.ask("POST", "/positions", body).status == 204
    assert consumer.values() == ["1-2"]
    assert consumer.ask("POST", "/positions/beginning", {"partitions": places}).status == 204
    assert len(consumer.read()) == 6
    consumer.ask("POST", "/positions/beginning", {"partitions": places})
    assert consumer.ask("POST", "/positions/end", {"partitions": places}).status == 204
    assert consumer.read() == []
    body["offsets"][0]["offset"] = 99
    assert code(consumer.ask("POST", "/positions", body)) == (422, 422)


def test_positions_of_what_is_not_read(world: World) -> None:
    """They are 40903, a partition that is not there 40402."""
    consumer = world.consumer()
    body = {"offsets": [{"topic": "two", "partition": 1, "offset": 2}]}
    assert code(consumer.ask("POST", "/positions", body)) == (409, 40903)
    consumer.ask("POST", "/assignments", {"partitions": [{"topic": "two", "partition": 0}]})
    assert code(consumer.ask("POST", "/positions", body)) == (409, 40903)
    assert code(consumer.ask("POST", "/positions/end", {"partitions": [{"topic": "two", "partition": 7}]})) == (
        404,
        40402,
    )


def test_partitions_by_hand(world: World) -> None:
    """An instance reads just the partitions that it was assigned, and goes on from them after a restart."""
    consumer = world.consumer()
    place = {"topic": "two", "partition": 1}
    assert consumer.ask("POST", "/assignments", {"partitions": [place]}).status == 204
    assert consumer.ask("GET", "/assignments").json == {"partitions": [place]}
    assert consumer.values() == ["1-0", "1-1", "1-2"]
    assert consumer.read() == []
    world.restart()
    assert consumer.ask("GET", "/assignments").json == {"partitions": [place]}
    line = world.begin("GET", f"{consumer.path}/records?timeout=1000")
    world.advance(0.1)
    world.ask("POST", "/topics/two/partitions/1", {"records": [{"value": "new"}]}, Content_Type=JSON)
    world.advance(1)
    assert [one["value"] for one in line.reply().json][-1:] == ["new"]
    assert code(consumer.ask("POST", "/assignments", {"partitions": [{"topic": "two", "partition": 9}]})) == (
        404,
        40402,
    )


# -- lasting ----------------------------------------------------------------------------------------------------------


def test_an_instance_is_there_after_a_restart(world: World) -> None:
    """It has its subscription, its format, its place and its owner."""
    consumer = world.consumer()
    consumer.subscribe("two")
    consumer.read()
    consumer.read()
    world.restart()
    assert consumer.ask("GET", "/subscription").json == {"topics": ["two"]}
    world.produce("two", "after")
    assert consumer.values() == ["after"]
    assert code(world.ask("POST", "/consumers/g", {"name": "c"})) == (409, 40902)


def test_what_nobody_asks_for_expires(world: World) -> None:
    """After five minutes without a request an instance is gone, and another has its partitions."""
    first, second = world.consumer(name="a"), world.consumer(name="b")
    first.subscribe("two")
    second.subscribe("two")
    second.read()
    for _ in range(7):
        world.advance(50)
        second.read()
    assert code(first.ask("GET", "/records")) == (404, 40403)
    assert len(second.ask("GET", "/assignments").json["partitions"]) == 2
    assert not [key for key in world.broker.log.cells.items("confluent") if b'"a"' in key]


def test_a_lease_that_has_expired_is_taken_up_again(world: World) -> None:
    """Where the group has lost a member that its instance is still there for, it joins again when it asks."""
    consumer = world.consumer()
    consumer.subscribe("two")
    consumer.read()
    consumer.read()
    world.broker.groups._table.find("g", "").group.leave("c")
    world.produce("two", "after")
    assert consumer.values() == ["after"]


# -- rights -----------------------------------------------------------------------------------------------------------


def test_an_instance_is_its_owners(world: World) -> None:
    """Another user may neither read with it nor delete it."""
    consumer = world.consumer()
    consumer.subscribe("two")
    for method, what in (("GET", "/records"), ("DELETE", ""), ("GET", "/subscription"), ("POST", "/offsets")):
        assert code(world.ask(method, consumer.path + what, user="bob")) == (403, 40301)
    assert len(consumer.read()) == 6


def test_topics_that_may_not_be_read(world: World) -> None:
    """They can neither be subscribed to nor assigned; a right that is lost later ends the reading."""
    consumer = world.consumer(user="logs")
    place = {"partitions": [{"topic": "two", "partition": 0}]}
    assert code(consumer.subscribe("two")) == (403, 40301)
    assert code(consumer.ask("POST", "/assignments", place)) == (403, 40301)
    assert code(world.ask("POST", "/consumers/g", {}, user="writer")) == (403, 40301)
    world.produce("logs.a", 1)
    consumer.subscribe("logs.a")
    assert consumer.values() == [1]
    world.produce("logs.a", 2)
    from brokerkit.grants import Access, Grants, Rule

    other = Grants({"subscribe": Access((Rule(b"other"),))})
    world.memory.source.put("logs", "secret", other)
    world.advance(60)
    assert consumer.ask("GET", "/records?timeout=0").json == []
    world.memory.source.put("logs", "secret", Grants())
    world.advance(60)
    assert code(consumer.ask("GET", "/records?timeout=0")) == (403, 40301)


def test_the_name_of_a_host_that_is_none(world: World) -> None:
    """An address is made with the Host header only if that is one; behind a proxy that speaks TLS it says so."""
    line = world.line()
    line.send(
        b"POST /consumers/g HTTP/1.1\r\nHost: a/b\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\nContent-Length: 0\r\n\r\n"
    )
    world.advance(0.1)
    assert line.reply().json["base_uri"].startswith("http:///consumers/") or b"a/b" not in line.received
    reply = world.ask("POST", "/consumers/g", X_Forwarded_Proto="https")
    assert reply.json["base_uri"].startswith("https://test/")


@pytest.mark.parametrize("assigned", [False, True])
def test_the_least_bytes(world: World, assigned: bool) -> None:
    """An answer waits for as many bytes as the instance was made for, or for its time; nothing is lost by that."""
    world.produce("logs.a", "12345")
    consumer = world.consumer(**{"fetch.min.bytes": 14, "auto.commit.enable": "false"})
    if assigned:
        consumer.ask("POST", "/assignments", {"partitions": [{"topic": "logs.a", "partition": 0}]})
    else:
        consumer.subscribe("logs.a")
    line = world.begin("GET", consumer.path + "/records?timeout=4000", Accept=JSON)
    world.advance(1)
    assert line.received == b""
    world.produce("logs.a", "6789")
    world.advance(0.1)
    assert line.received == b""
    world.produce("logs.a", "x")
    world.advance(0.1)
    assert [one["value"] for one in line.reply().json] == ["12345", "6789", "x"]
    world.produce("logs.a", "late")
    line = world.begin("GET", consumer.path + "/records?timeout=4000", Accept=JSON)
    world.advance(3.9)
    assert line.received == b""
    world.advance(0.2)
    assert [one["value"] for one in line.reply().json] == ["late"]


@pytest.mark.parametrize("assigned", [False, True])
def test_the_least_bytes_are_no_more_than_are_given(world: World, assigned: bool) -> None:
    """Who takes little does not wait for much; and it counts after a restart."""
    world.produce("logs.a", *["x" * 100] * 5)
    consumer = world.consumer(**{"fetch.min.bytes": 100_000})
    if assigned:
        consumer.ask("POST", "/assignments", {"partitions": [{"topic": "logs.a", "partition": 0}]})
    else:
        consumer.subscribe("logs.a")
    assert len(consumer.ask("GET", "/records?timeout=4000&max_bytes=200", Accept=JSON).json) in {1, 2}
    world.restart()
    line = world.begin("GET", consumer.path + "/records?timeout=4000", Accept=JSON)
    world.advance(1)
    assert line.received == b""
    line.hang_up()


def test_a_request_given_up_loses_nothing(world: World) -> None:
    """What was there while it waited for more is given to the next one."""
    world.produce("logs.a", "one")
    consumer = world.consumer(**{"fetch.min.bytes": 100, "auto.commit.enable": "false"})
    consumer.ask("POST", "/assignments", {"partitions": [{"topic": "logs.a", "partition": 0}]})
    line = world.begin("GET", consumer.path + "/records?timeout=4000", Accept=JSON)
    world.advance(1)
    line.hang_up()
    assert consumer.values() == ["one"]


def test_a_group_of_another_user(world: World) -> None:
    """An instance cannot be made in it, unless a right names the group; ann's names all."""
    world.produce("logs.a", 1)
    world.consumer(user="reader").subscribe("logs.a")
    assert code(world.ask("POST", "/consumers/g", {"name": "x"}, user="logs")) == (403, 40301)
    world.consumer(name="x", user="ann")
    before = world.consumer("h", "early", user="logs")
    world.consumer("h", "first", user="reader").subscribe("logs.a")
    assert code(before.subscribe("logs.a")) == (403, 40301)
