"""The modern API: entries by name, their revisions as tags, pages, histories and transactions."""

from __future__ import annotations

import json

import pytest

from tests.protocols.bpbroker.v1_world import World


@pytest.fixture
def world() -> World:
    """Give a registry and its API."""
    return World()


def test_put_and_get(world: World) -> None:
    """What is put comes back, with the revision as its tag and who wrote when from where."""
    made = world.put("web", {"port": 80}, key="ann")
    assert (made.status, made.headers["etag"]) == (201, '"1"')
    expected = {
        "name": "web",
        "data": {"port": 80},
        "revision": 1,
        "created": 1,
        "version": 1,
        "last_write_ip": "192.0.2.1",
        "last_write_ts": 1_800_000_000,
        "last_write_by": "ann",
    }
    assert made.json == expected
    got = world.ask("GET", "/v1/kv/web")
    assert (got.status, got.headers["etag"], got.json) == (200, '"1"', expected)
    assert world.ask("GET", "/v1/kv/web?raw").json == {"port": 80}
    again = world.put("web", {"port": 81})
    assert (again.status, again.headers["etag"], again.json["version"], again.json["created"]) == (200, '"2"', 2, 1)


def test_names(world: World) -> None:
    """A name may be any text; the broker's own are hidden and cannot be written."""
    for name in ("a%2Fb", "%C3%A9", "a%20b", ".", "..", "x" * 1000):
        assert world.put(name, {}).status == 201, name
        assert world.ask("GET", f"/v1/kv/{name}").status == 200
    assert world.put("_x", {}).status == 400
    assert world.put("x" * 1025, {}).status == 400
    assert world.put("a%00b", {}).status == 400
    assert world.ask("GET", "/v1/kv/_x").status == 404
    assert world.ask("DELETE", "/v1/kv/_x").status == 400


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"5", b"[]", b"null", b'"x"', b"{", b"\xff", b"nonsense"),
        *(b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}', b'{"a": ' + b"9" * 5000 + b"}"),
        *(b"[" * 50_000, b'{"a":' * 20_000, b'{"a":' * 100 + b"1" + b"}" * 100),
    ],
)
def test_what_is_no_object(world: World, body: bytes) -> None:
    """It is refused with a problem, and nothing is stored."""
    reply = world.ask("PUT", "/v1/kv/a", body)
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/problem+json"
    assert len(world.registry) == 0


def test_odd_data(world: World) -> None:
    """Everything that is JSON comes back as it was."""
    data = {"": None, "é": "\ud800", "n": [1, 1.5, -0.0, True, {"x": {}}], "last_write_ip": "mine", "_str": ""}
    world.ask("PUT", "/v1/kv/a", json.dumps(data).encode())
    assert world.ask("GET", "/v1/kv/a").json["data"] == data


def test_too_large() -> None:
    """A value that is too large is refused, and so is a registry that would be."""
    world = World(value=100, total=250, entries=2)
    assert world.put("a", {"x": "y" * 100}).status == 400
    assert world.put("a", {"x": "y" * 80}).status == 201
    assert world.put("b", {"x": "y" * 80}).status == 201
    full = world.put("c", {})
    assert (full.status, full.json["title"]) == (507, "Insufficient Storage")
    assert world.put("a", {"x": "z" * 90}).status == 200
    assert world.ask("DELETE", "/v1/kv/a").status == 204
    assert world.put("c", {}).status == 201


def test_conditions(world: World) -> None:
    """If-Match and If-None-Match make a write depend on what is there; 412 says what is."""
    assert world.put("a", {}, if_match='"1"').status == 412
    assert world.put("a", {}, if_match="*").status == 412
    assert world.put("a", {}, if_none_match="*").status == 201
    refused = world.put("a", {}, if_none_match="*")
    assert (refused.status, refused.json["revision"]) == (412, 1)
    assert world.put("a", {"n": 2}, if_match='"1"').status == 200
    assert world.put("a", {"n": 3}, if_match='"1"').status == 412
    assert world.put("a", {"n": 3}, if_match='W/"2"').status == 412
    assert world.put("a", {"n": 3}, if_match='"7", "2"').status == 200
    assert world.put("a", {"n": 4}, if_match="*").status == 200
    assert world.put("a", {"n": 4}, if_match='"x"').status == 412
    assert world.put("a", {"n": 4}, if_match="nonsense").status == 400
    assert world.put("a", {"n": 4}, if_none_match='"1"').status == 400
    assert world.ask("DELETE", "/v1/kv/a", if_match='"1"').status == 412
    assert world.ask("DELETE", "/v1/kv/a", if_match='"4"').status == 204


def test_not_modified(world: World) -> None:
    """Who has the revision already gets 304."""
    world.put("a", {})
    known = world.ask("GET", "/v1/kv/a", if_none_match='"9", W/"1"')
    assert (known.status, known.headers["etag"]) == (304, '"1"')
    assert world.ask("GET", "/v1/kv/a", if_none_match="*").status == 304
    assert world.ask("GET", "/v1/kv/a", if_none_match='"2"').status == 200


def test_delete(world: World) -> None:
    """What is deleted is gone; what is not there is 404."""
    world.put("a", {})
    assert world.ask("DELETE", "/v1/kv/a").status == 204
    assert world.ask("DELETE", "/v1/kv/a").status == 404
    assert world.ask("GET", "/v1/kv/a").status == 404


def test_patch(world: World) -> None:
    """A merge patch goes into objects and takes nulls away; a shallow one replaces members."""
    world.put("a", {"x": {"y": 1, "z": 2}, "n": 1})
    patch = {"x": {"y": None, "w": 3}, "n": None}
    reply = world.ask("PATCH", "/v1/kv/a", patch, content_type="application/merge-patch+json; charset=utf-8")
    assert reply.json["data"] == {"x": {"z": 2, "w": 3}}
    assert world.ask("PATCH", "/v1/kv/a", {"x": {}, "m": None}).json["data"] == {"x": {}, "m": None}
    assert world.ask("PATCH", "/v1/kv/a?merge=deep", {"m": None}).json["data"] == {"x": {}}
    assert world.ask("PATCH", "/v1/kv/a?merge=odd", {}).status == 400
    assert world.ask("PATCH", "/v1/kv/b", {}).status == 404
    assert world.ask("PATCH", "/v1/kv/b?create", {"c": 1}).status == 201
    assert world.ask("PATCH", "/v1/kv/a", {}, if_match='"1"').status == 412


def test_leases(world: World) -> None:
    """An entry with a ttl ends by itself; renewing prolongs it, and 404 says to register again."""
    made = world.ask("PUT", "/v1/kv/a?ttl=10", {})
    assert (made.json["ttl"], made.json["expires"]) == (10, 1_800_000_010)
    world.clock.advance(9)
    renewed = world.ask("POST", "/v1/kv/a/renew")
    assert (renewed.status, renewed.json["expires"], renewed.headers["etag"]) == (200, 1_800_000_019, '"1"')
    world.clock.advance(9)
    assert world.ask("POST", "/v1/kv/a/renew?ttl=1", if_match='"1"').json["expires"] == 1_800_000_019
    assert world.ask("POST", "/v1/kv/a/renew", if_match='"7"').status == 412
    world.clock.advance(1)
    assert world.ask("GET", "/v1/kv/a").status == 404
    assert world.ask("POST", "/v1/kv/a/renew").status == 404
    for ttl in ("0", "-1", "nan", "inf", "x", "1e99", ""):
        assert world.ask("PUT", f"/v1/kv/a?ttl={ttl}", {}).status == 400, ttl


def test_entries_of_a_connection(world: World) -> None:
    """What is bound to a connection ends with it, and nothing else does."""
    line, other = world.line(), world.line()
    assert line.ask("PUT", "/v1/kv/a?bound=true", {}).json["bound"] is True
    line.ask("PUT", "/v1/kv/b?bound=true", {})
    line.ask("PUT", "/v1/kv/c", {})
    other.ask("PUT", "/v1/kv/b", {"mine": True})
    line.hang_up()
    assert [entry.name for entry in world.registry.list()] == ["b", "c"]
    assert world.registry.history("a")[-1].operation == "expire"


def test_pages(world: World) -> None:
    """A list comes in pages in the order of names, each with what the next begins behind."""
    for i in range(25):
        world.put(f"a{i:02}", {"i": i})
    world.put("b", {})
    page = world.ask("GET", "/v1/kv?prefix=a&limit=10").json
    assert [entry["name"] for entry in page["entries"]] == [f"a{i:02}" for i in range(10)]
    assert (page["revision"], page["next"]) == (26, "a09")
    assert world.ask("GET", "/v1/kv?prefix=a&limit=10&after=a19").json["next"] is None
    names, after = [], ""
    while after is not None:
        page = world.ask("GET", f"/v1/kv?keys&limit=7&after={after}").json
        names += page["names"]
        after = page["next"]
    assert names == [*(f"a{i:02}" for i in range(25)), "b"]
    for wrong in ("limit=0", "limit=1001", "limit=x", "keys=perhaps"):
        assert world.ask("GET", f"/v1/kv?{wrong}").status == 400


def test_a_page_is_bounded_in_bytes(world: World) -> None:
    """Large entries make shorter pages, and none is left out."""
    for i in range(30):
        world.put(f"a{i:02}", {"x": "y" * 90_000})
    names, after, pages = [], "", 0
    while after is not None:
        page = world.ask("GET", f"/v1/kv?limit=1000&after={after}")
        assert len(page.body) < 1_300_000
        names += [entry["name"] for entry in page.json["entries"]]
        after, pages = page.json["next"], pages + 1
    assert len(names) == 30
    assert pages == 3


def test_history(world: World) -> None:
    """The changes of an entry are there, deletions too."""
    world.put("a", {"n": 1})
    world.put("b", {})
    world.put("a", {"n": 2})
    world.ask("DELETE", "/v1/kv/a")
    changes = world.ask("GET", "/v1/kv/a/history").json["changes"]
    assert [(one["revision"], one["operation"], one["record"]["data"]) for one in changes] == [
        (1, "put", {"n": 1}),
        (3, "put", {"n": 2}),
        (4, "delete", {"n": 2}),
    ]
    assert world.ask("GET", "/v1/kv/nothing/history").json["changes"] == []


# -- who may ----------------------------------------------------------------------------------------------------------


def test_rights(world: World) -> None:
    """Reading and writing are allowed by name; what may not be read is in no list."""
    world.put("a", {})
    world.put("b", {})
    world.ask("PUT", "/v1/lock/l")
    assert world.ask("GET", "/v1/kv/a", key="wrong").status == 401
    for method, target, body, keys in (
        ("GET", "/v1/kv/b", None, {"reader": 200, "only-a": 403, "nobody": 403}),
        ("GET", "/v1/kv/b/history", None, {"reader": 200, "only-a": 403}),
        ("PUT", "/v1/kv/b", {}, {"reader": 403, "only-a": 403}),
        ("PATCH", "/v1/kv/b", {}, {"reader": 403}),
        ("DELETE", "/v1/kv/b", None, {"reader": 403, "only-a": 403}),
        ("POST", "/v1/kv/b/renew", None, {"reader": 403}),
        ("POST", "/v1/txn", {"operations": [{"operation": "delete", "name": "b"}]}, {"reader": 403, "only-a": 403}),
        ("POST", "/v1/txn", {"operations": [{"operation": "check", "name": "b", "revision": 2}]}, {"only-a": 403}),
        ("PUT", "/v1/lock/x", None, {"reader": 403, "only-a": 403}),
        ("GET", "/v1/lock/l", None, {"reader": 200, "only-a": 403}),
        ("DELETE", "/v1/lock/l", None, {"reader": 403}),
        ("PUT", "/v1/health/b", {"kind": "ttl", "ttl": 5}, {"reader": 403}),
    ):
        for key, status in keys.items():
            assert world.ask(method, target, body, key).status == status, (method, target, key)
    assert world.ask("PUT", "/v1/kv/a", {}, "only-a").status == 200
    assert world.ask("GET", "/v1/kv?keys", key="only-a").json["names"] == ["a"]
    assert world.ask("GET", "/v1/kv?keys", key="nobody").json["names"] == []
    assert [one["name"] for one in world.ask("GET", "/v1/watch", key="only-a").json["entries"]] == ["a"]


# -- transactions -----------------------------------------------------------------------------------------------------


def _txn(world: World, *operations: object) -> object:
    reply = world.ask("POST", "/v1/txn", {"operations": list(operations)})
    return reply.status, reply.json


def test_a_transaction(world: World) -> None:
    """Several writes are done together, each with a revision of its own."""
    status, done = _txn(
        world,
        {"operation": "put", "name": "a", "data": {"n": 1}, "if_absent": True},
        {"operation": "put", "name": "b", "data": {}, "ttl": 5},
        {"operation": "merge", "name": "a", "data": {"m": 2}},
        {"operation": "check", "name": "c", "revision": 0},
        {"operation": "renew", "name": "b", "ttl": 50},
        {"operation": "delete", "name": "b"},
    )
    assert status == 200
    assert [one and one["revision"] for one in done["results"]] == [1, 2, 3, None, 2, None]
    assert done["revision"] == 4
    assert world.registry.get("a").data == {"n": 1, "m": 2}
    assert world.registry.get("b") is None


def test_a_transaction_that_fails(world: World) -> None:
    """If one condition does not hold, nothing is done, and the answer says which."""
    world.put("a", {})
    status, problem = _txn(
        world,
        {"operation": "put", "name": "b", "data": {}},
        {"operation": "delete", "name": "a"},
        {"operation": "put", "name": "c", "data": {}, "if_revision": 9},
    )
    assert (status, problem["name"], problem["revision"]) == (409, "c", 0)
    assert [entry.name for entry in world.registry.list()] == ["a"]
    assert world.registry.revision == 1


@pytest.mark.parametrize(
    "operation",
    [
        5,
        {},
        {"operation": "put"},
        {"operation": [], "name": "a"},
        {"operation": "put", "name": 5, "data": {}},
        {"operation": "put", "name": "a"},
        {"operation": "put", "name": "a", "data": []},
        {"operation": "put", "name": "_a", "data": {}},
        {"operation": "put", "name": "a", "data": {}, "owner": "somebody"},
        {"operation": "put", "name": "a", "data": {}, "written": ["1.2.3.4", 5]},
        {"operation": "put", "name": "a", "data": {}, "ttl": True},
        {"operation": "put", "name": "a", "data": {}, "ttl": 1e300},
        {"operation": "put", "name": "\ud800", "data": {}},
        {"operation": "check", "name": "a"},
        {"operation": "check", "name": "a", "revision": -1},
        {"operation": "check", "name": "a", "revision": 1.5},
        {"operation": "expire", "name": "a"},
        {"operation": "delete", "name": "a", "if_there": 1},
    ],
)
def test_what_is_no_operation(world: World, operation: object) -> None:
    """What cannot be meant is 400, and nothing is done."""
    status, _ = _txn(world, {"operation": "put", "name": "before", "data": {}}, operation)
    assert status == 400
    assert len(world.registry) == 0


def test_too_many_operations(world: World) -> None:
    """A transaction is bounded."""
    status, _ = _txn(world, *({"operation": "put", "name": f"a{i}", "data": {}} for i in range(300)))
    assert status == 400
    assert world.ask("POST", "/v1/txn", {"operations": [], "more": 1}).status == 400
    assert world.ask("POST", "/v1/txn", {"operations": {}}).status == 400
    assert _txn(world) == (200, {"results": [], "revision": 0})


# -- about it ---------------------------------------------------------------------------------------------------------


def test_the_document_is_served(world: World) -> None:
    """It has every path of the API, and says what can be sent."""
    document = world.ask("GET", "/v1/openapi.json").json
    assert document["openapi"].startswith("3.1")
    assert {"/v1/kv", "/v1/kv/{name}", "/v1/watch", "/v1/txn", "/v1/lock/{name}", "/healthz"} <= document[
        "paths"
    ].keys()
    assert document["paths"]["/v1/kv/{name}"].keys() == {"get", "put", "patch", "delete"}


def test_healthz(world: World) -> None:
    """It says whether it can be written to."""
    assert world.ask("GET", "/healthz", key="wrong").json == {"ok": True, "entries": 0}
    world.registry.is_writable = False
    assert world.ask("GET", "/healthz").status == 503
