"""Consumer groups by the modern API, and what of them survives."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit.log.groups import Groups
from tests.protocols.kafka_rest.v1_world import GRANTS, World


@pytest.fixture
def world() -> World:
    """Give a broker with three records in ``a``."""
    found = World()
    found.put(b"0", b"1", b"2")
    return found


def join(world: World, member: str, group: str = "g", user: str = "ann", **more: Any) -> Any:
    """Join, from the first record on, unless something else is said."""
    body = {"member": member, "topics": ["a"], "start": "first", **more}
    return world.post(f"/v1/groups/{group}/members", body, user)


def poll(world: World, member: str, query: str = "", user: str = "ann") -> Any:
    """Ask for records."""
    return world.post(f"/v1/groups/g/members/{member}/poll{query}", b"", user)


def values(reply: Any) -> list[Any]:
    """Give the values of an answer."""
    assert reply.status == 200, reply
    return [record["value"] for record in reply.json["records"]]


def commit(world: World, member: str, offset: int, **more: Any) -> int:
    """Commit an offset of ``a``; give the status."""
    offsets = [{"topic": "a", "partition": 0, "offset": offset}]
    return int(world.post("/v1/groups/g/offsets", {"member": member, "offsets": offsets, **more}).status)


def restart(world: World) -> None:
    """Have the groups read again from the cells, as after a restart."""
    again = Groups(world.log, world.memory.reactor)
    world.broker._groups = world.service.groups = world.api.here.groups = again


def test_records_come_once_and_what_is_committed_stays(world: World) -> None:
    """Polls go on from each other; after a restart, from what is committed, with the same member."""
    assert join(world, "m").status == 201
    first = poll(world, "m", "?max_records=2")
    assert values(first) == ["0", "1"]
    assert world.post("/v1/groups/g/offsets", {"member": "m", "offsets": first.json["offsets"]}).status == 204
    assert values(poll(world, "m")) == ["2"]
    restart(world)
    assert values(poll(world, "m")) == ["2"]


def test_commit_with_the_next_poll(world: World) -> None:
    """One request commits what was given before, and asks for more."""
    join(world, "m")
    poll(world, "m", "?max_records=2")
    poll(world, "m", "?commit=true")
    (share,) = world.get("/v1/groups/g/offsets").json["offsets"]
    assert (share["offset"], share["lag"], share["member"]) == (2, 1, "m")


def test_an_answer_that_was_lost_is_given_again(world: World) -> None:
    """A poll that has not seen the last answer gets it again, and does not commit it."""
    join(world, "m")
    assert values(poll(world, "m", "?max_records=2")) == ["0", "1"]
    assert values(poll(world, "m", "?max_records=2&seen=0&commit=true")) == ["0", "1"]
    assert world.get("/v1/groups/g/offsets").json["offsets"][0]["offset"] == 0
    assert values(poll(world, "m", "?seen=2")) == ["2"]
    assert poll(world, "m", "?seen=9").status == 400


def test_a_second_member_waits_for_its_share(world: World) -> None:
    """Its first poll waits until the first member has asked again, and then has records."""
    for partition in range(3):
        world.put(b"p%d" % partition, topic="p", partition=partition)
    join(world, "one", topics=["p"])
    assert len(values(poll(world, "one"))) == 3
    assert len(join(world, "two", topics=["p"]).json["awaited"]) == 1
    line = world.begin("POST", "/v1/groups/g/members/two/poll?wait=20", b"")
    assert line.received == b""
    poll(world, "one", "?commit=true")
    world.put(b"new", topic="p", partition=world.groups.member("g", "two").assigned[0][1])
    assert values(line.reply()) == ["new"]


def test_a_poll_waits_for_records(world: World) -> None:
    """It is answered by the commit that brings some, or empty when the time is over."""
    join(world, "m")
    poll(world, "m")
    line = world.begin("POST", "/v1/groups/g/members/m/poll?wait=5", b"")
    world.put(b"late")
    assert values(line.reply()) == ["late"]
    line = world.begin("POST", "/v1/groups/g/members/m/poll?wait=5", b"")
    world.advance(4.9)
    assert line.received == b""
    world.advance(0.2)
    assert values(line.reply()) == []


def test_a_member_that_is_not_heard_of_gives_way(world: World) -> None:
    """Its lease is seen to end; its partitions go to others; it cannot commit, and can join again."""
    expires = join(world, "m", session_timeout=10).json["expires"]
    assert expires == (1_800_000_000 + 10) * 1000
    poll(world, "m")
    join(world, "n", session_timeout=60)
    world.advance(11)
    assert [one["member"] for one in world.get("/v1/groups/g").json["members"]] == ["n"]
    assert commit(world, "m", 1) == 404
    assert poll(world, "m").status == 404
    assert values(poll(world, "n")) == ["0", "1", "2"]
    assert join(world, "m").status == 201


def test_a_lease_lasts_while_a_poll_waits(world: World) -> None:
    """A member that waits longer than its lease is not taken for dead."""
    join(world, "m", session_timeout=2)
    poll(world, "m")
    line = world.begin("POST", "/v1/groups/g/members/m/poll?wait=30", b"")
    for _ in range(10):
        world.advance(1)
    world.put(b"late")
    assert values(line.reply()) == ["late"]
    world.post("/v1/groups/g/members/m/heartbeat")
    world.advance(1.5)
    assert world.get("/v1/groups/g/members/m").status == 200


def test_commits_are_fenced(world: World) -> None:
    """What another has taken over cannot be committed, nor can what was known before a reset."""
    generation = join(world, "m").json["generation"]
    assert commit(world, "m", 1, generation=generation) == 204
    assert world.post("/v1/groups/g/reset", {"to": "first"}).status == 409
    assert world.post("/v1/groups/g/reset", {"to": "first", "force": True}).status == 200
    assert commit(world, "m", 3, generation=generation) == 409
    assert values(poll(world, "m")) == ["0", "1", "2"]
    assert commit(world, "other", 1) == 404
    assert commit(world, "", 1) == 409


def test_a_member_belongs_to_its_user(world: World) -> None:
    """Nobody else goes on with it, commits for it or ends it."""
    join(world, "m")
    assert poll(world, "m", user="bob").status == 403
    assert world.ask("DELETE", "/v1/groups/g/members/m", user="bob").status == 403
    assert join(world, "m", user="bob").status == 403


def test_rights_count_for_each_poll(world: World) -> None:
    """To join needs the right to read; a pattern has to be allowed as a whole."""
    assert join(world, "m", user="only-a").status == 201
    assert join(world, "n", user="only-a", topics=["p"]).status == 403
    assert join(world, "n", user="only-a", topics=[], patterns=[">"]).status == 403
    assert join(world, "n", user="writer").status == 403


def test_seek_and_reset(world: World) -> None:
    """A member can be moved by itself; a group without members by offset, shift, moment and to the ends."""
    join(world, "m")
    poll(world, "m")
    target = {"offsets": [{"topic": "a", "partition": 0, "offset": 1}]}
    assert world.post("/v1/groups/g/members/m/seek", target).status == 204
    assert values(poll(world, "m", "?commit=true")) == ["1", "2"]
    assert world.ask("DELETE", "/v1/groups/g/members/m").status == 204

    def moved(**said: Any) -> int:
        return int(world.post("/v1/groups/g/reset", said).json["offsets"][0]["to"])

    assert moved(to="last") == 3
    assert moved(shift=-2) == 1
    assert moved(shift=-20) == 0
    assert moved(to=2, dry_run=True) == 2
    assert moved(shift=0) == 0
    assert moved(at=1_900_000_000_000) == 3
    assert moved(to=1) == 1
    assert world.post("/v1/groups/g/reset", {"to": "first", "shift": 1}).status == 400


def test_an_offset_has_to_be_one_of_the_partition(world: World) -> None:
    """What lies beyond the end, no topic, and a partition named twice are refused, all or none."""
    join(world, "m")
    assert commit(world, "m", 4) == 400
    twice = [{"topic": "a", "partition": 0, "offset": 1}] * 2
    assert world.post("/v1/groups/g/offsets", {"member": "m", "offsets": twice}).status == 400
    unknown = [{"topic": "no", "partition": 0, "offset": 1}]
    assert world.post("/v1/groups/g/offsets", {"member": "m", "offsets": unknown}).status == 404


def test_what_is_not_kept_any_more_is_said(world: World) -> None:
    """A group whose place has been cleared away goes on at the first record, and says what is missing."""
    world.make("short", retention_messages=2)
    join(world, "m", topics=["short"])
    poll(world, "m")
    world.put(*[b"%d" % i for i in range(10)], topic="short")
    world.advance(60)
    join(world, "m", topics=["short"])
    first = world.log.span(b"short", 0).first
    assert first > 0
    reply = poll(world, "m")
    assert reply.json["skipped"] == [{"topic": "short", "partition": 0, "from": 0, "to": first}]
    assert values(reply)[-1] == "9"


def test_where_a_group_begins_lasts(world: World) -> None:
    """One that begins at the end gets what came between its first poll and a restart."""
    join(world, "m", start="last")
    assert values(poll(world, "m")) == []
    restart(world)
    world.put(b"between")
    assert values(poll(world, "m")) == ["between"]


def test_the_end_is_that_of_joining(world: World) -> None:
    """Who begins at the end misses nothing that comes before its first poll, nor the beginning of a later topic."""
    join(world, "m", topics=[], patterns=["a", "x.*"], start="last")
    world.put(b"3")
    world.make("x.1")
    world.put(b"first", topic="x.1")
    world.advance(2)
    assert sorted(values(poll(world, "m"))) == ["3", "first"]


def test_patterns(world: World) -> None:
    """A member with a pattern reads topics that are made later."""
    join(world, "m", topics=[], patterns=["x.>"])
    world.make("x.1")
    world.put(b"new", topic="x.1")
    world.advance(2)
    assert values(poll(world, "m")) == ["new"]


def test_records_and_offsets_in_one_commit(world: World) -> None:
    """Records and the offsets that they come of are kept together, or neither is."""
    join(world, "m")
    offsets = [{"topic": "a", "partition": 0, "offset": 2}]
    body: Any = {
        "records": [{"topic": "p", "partition": 0, "value": "made"}],
        "commit": {"group": "g", "member": "m", "offsets": offsets},
    }
    assert world.post("/v1/records", body).status == 200
    assert world.values("/v1/topics/p/records") == ["made"]
    assert world.get("/v1/groups/g/offsets").json["offsets"][0]["offset"] == 2
    body["commit"]["member"] = "gone"
    assert world.post("/v1/records", body).status == 404
    body["commit"]["member"] = "m"
    body["records"].append({"topic": "nowhere", "value": "x"})
    assert world.post("/v1/records", body).status == 404
    assert world.values("/v1/topics/p/records") == ["made"]


def test_a_group_is_deleted_when_it_is_empty(world: World) -> None:
    """With members it is not; then it is gone, also after a restart."""
    join(world, "m")
    poll(world, "m")
    assert world.ask("DELETE", "/v1/groups/g").status == 409
    world.ask("DELETE", "/v1/groups/g/members/m")
    assert world.get("/v1/groups").json == {"groups": ["g"]}
    assert world.ask("DELETE", "/v1/groups/g").status == 204
    restart(world)
    assert world.get("/v1/groups").json == {"groups": []}
    assert world.get("/v1/groups/g").status == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"topics": "a"},
        {"topics": ["a"], "session_timeout": 0},
        {"topics": ["a"], "start": "middle"},
        {"topics": ["a"], "member": "x\u0000"},
        {"patterns": ["a..b"]},
        {"topic": ["a"]},
        [1],
    ],
)
def test_who_joins_badly_is_told_why(world: World, body: Any) -> None:
    """What cannot be meant is refused with a sentence, and leaves no group behind."""
    reply = world.post("/v1/groups/g/members", body)
    assert reply.status == 400
    assert reply.json["detail"]
    assert world.get("/v1/groups").json == {"groups": []}


def test_a_waiting_poll_that_is_given_up_leaves_nothing(world: World) -> None:
    """Who hangs up while it waits keeps its lease for a while, and nothing is lost to it."""
    join(world, "m", session_timeout=5)
    poll(world, "m", "?commit=true")
    line = world.begin("POST", "/v1/groups/g/members/m/poll?wait=30", b"")
    line.hang_up()
    world.put(b"late")
    assert values(poll(world, "m")) == ["late"]


def test_a_group_is_its_users_own(world: World) -> None:
    """Who used it first may do with it what it likes; others can look, and no more, unless a right names the group."""
    assert join(world, "m", user="reader").status == 201
    poll(world, "m", user="reader")
    assert world.get("/v1/groups/g", "other").json["owner"] == "reader"
    assert join(world, "n", user="other").status == 403
    for method, path, body in (
        ("POST", "/v1/groups/g/reset", {"to": "first", "force": True}),
        ("POST", "/v1/groups/g/offsets", {"offsets": [{"topic": "a", "partition": 0, "offset": 1}]}),
        ("POST", "/v1/groups/g/members/m/seek", {"offsets": [{"topic": "a", "partition": 0, "offset": 1}]}),
        ("POST", "/v1/groups/g/members/m/poll", b""),
        ("DELETE", "/v1/groups/g", None),
    ):
        assert world.ask(method, path, body, "other").status == 403, path
    assert world.post("/v1/groups/g/reset", {"to": 1, "force": True}, "reader").status == 200
    assert values(poll(world, "m", user="reader")) == ["1", "2"]
    assert join(world, "n", user="keeper").status == 201
    assert world.post("/v1/groups/g/reset", {"to": 2, "force": True}, "keeper").status == 200


def test_a_group_stays_its_users_own(world: World) -> None:
    """Also when all members have left, and after a restart; when it is deleted, it is anybody's."""
    commits = {"offsets": [{"topic": "a", "partition": 0, "offset": 1}]}
    assert world.post("/v1/groups/g/offsets", commits, "reader").status == 204
    restart(world)
    assert world.post("/v1/groups/g/offsets", commits, "other").status == 403
    assert world.post("/v1/groups/g/reset", {"to": "last"}, "other").status == 403
    assert world.get("/v1/groups/g", "other").json["offsets"][0]["offset"] == 1
    assert world.ask("DELETE", "/v1/groups/g", user="reader").status == 204
    assert world.post("/v1/groups/g/reset", {"to": "last", "topics": ["a"]}, "other").status == 200
    assert world.post("/v1/groups/g/offsets", commits, "reader").status == 403


def test_a_group_of_another_is_not_committed_with_records(world: World) -> None:
    """Nor can it be moved by a request that produces."""
    join(world, "m", user="reader")
    offsets = [{"topic": "a", "partition": 0, "offset": 2}]
    body = {"records": [{"topic": "a", "value": "x"}], "commit": {"group": "g", "offsets": offsets}}
    assert world.post("/v1/records", body, "only-a").status == 403
    assert world.values("/v1/topics/a/records") == ["0", "1", "2"]


def test_who_looks_at_a_group_sees_its_own_topics(world: World) -> None:
    """What may not be read is not named, in either API."""
    world.put(b"p", topic="p")
    join(world, "m", user="reader", topics=["a", "p"])
    poll(world, "m", user="reader")
    for path in ("/v1/groups/g", "/v1/groups/g/members/m", "/v1/groups/g/offsets", "/api/v1/consumers/g"):
        said = world.get(path, "only-a").body
        assert b'"a"' in said
        assert b'"p"' not in said, path
        assert b'"p"' in world.get(path, "reader").body


def test_what_is_denied_within_a_pattern_goes_to_who_may_read_it(world: World) -> None:
    """A member is assigned nothing that it may not read; without one who may, nobody is."""
    for name in ("x.1", "x.secret.1"):
        world.make(name)
        world.put(name.encode(), topic=name)
    joined = join(world, "m", user="but-secrets", topics=[], patterns=["x.>"]).json
    assert [one["topic"] for one in joined["assigned"]] == ["x.1"]
    assert values(poll(world, "m", user="but-secrets")) == ["x.1"]
    assert join(world, "n", user="keeper", topics=[], patterns=["x.>"]).status == 201
    assert values(poll(world, "n", user="keeper")) == ["x.secret.1"]
    world.make("x.secret.2")
    world.put(b"later", topic="x.secret.2")
    world.advance(2)
    poll(world, "m", user="but-secrets")
    assert values(poll(world, "n", "?commit=true", user="keeper")) == ["later"]


def test_a_right_that_is_lost_moves_its_partitions(world: World) -> None:
    """At the next poll: what a member may not read any more is another's, and is given back with the right."""

    def assigned() -> list[str]:
        return sorted(one["topic"] for one in world.get("/v1/groups/g").json["members"][0]["assigned"])

    for name in ("x.1", "x.secret.1"):
        world.make(name)
    join(world, "m", user="reader", topics=[], patterns=["x.>"], session_timeout=600)
    poll(world, "m", user="reader")
    assert assigned() == ["x.1", "x.secret.1"]
    world.memory.source.put("reader", "x", GRANTS["but-secrets"])
    world.put(b"hidden", topic="x.secret.1")
    world.advance(60)
    assert values(poll(world, "m", user="reader")) == []
    assert assigned() == ["x.1"]
    world.memory.source.put("reader", "x", GRANTS["reader"])
    world.advance(60)
    assert values(poll(world, "m", user="reader")) == ["hidden"]


def test_after_a_restart_nothing_new_is_given_unasked(world: World) -> None:
    """Until a member is heard of again it keeps what it had, and gets no topic that it may not read."""
    world.make("x.1")
    join(world, "m", user="but-secrets", topics=[], patterns=["x.>"], session_timeout=600)
    join(world, "n", user="keeper", topics=[], patterns=["y.>"], session_timeout=600)
    restart(world)
    world.make("x.secret.1")
    poll(world, "n", user="keeper")
    members = {one["member"]: one for one in world.get("/v1/groups/g").json["members"]}
    assert [one["topic"] for one in members["m"]["assigned"]] == ["x.1"]


def test_a_second_member_need_not_wait_for_a_long_poll(world: World) -> None:
    """Who waits for records has asked for more, so what is to go to another goes at once."""
    world.make("two", 2)
    join(world, "one", topics=["two"])
    line = world.begin("POST", "/v1/groups/g/members/one/poll?wait=300", b"")
    joined = join(world, "two", topics=["two"]).json
    assert len(joined["assigned"]) + len(joined["awaited"]) == 1
    world.advance(0.1)
    (place,) = world.get("/v1/groups/g/members/two").json["assigned"]
    world.put(b"for two", topic="two", partition=place["partition"])
    assert values(poll(world, "two")) == ["for two"]
    assert line.received == b""
