"""The API of the original, row by row: what is asked, and the status, reason phrase and members of the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import fail

from brokerkit.checkers.anonymous import Anyone
from brokerkit.checkers.entry import read
from brokerkit.checkers.listed import ListedUsers
from brokerkit.protocols.bpbroker.legacy import Refused, read_data, read_path
from brokerkit.registry import NoRoom, Unwritable
from tests.protocols.bpbroker.legacy_world import NOW, World

STAMPED = {"last_write_ip": "192.0.2.1", "last_write_ts": NOW}
TEXT = {"_str": "bar", **STAMPED}
IP, TS = "{%22last_write_ip%22:1}", "{%22last_write_ts%22:1}"
KEYED = b'{"services": {"_access_key": "s3cret"}, "ping": {}, "echo": {"_access_key": "other"}}'


def found(data: dict[str, Any]) -> dict[str, Any]:
    """Give the answer that has a record."""
    return {"success": True, "message": "Success", "data": data}


def failed(message: str) -> dict[str, Any]:
    """Give the answer to what was not done."""
    return {"success": False, "message": message, "data": {}}


# -- recorded -----------------------------------------------------------------------------------------------------

RECORDED = (
    b"POST /services/Register/?access_key=&name=foo&data=bar HTTP/1.1\r\n"
    b"Host: 127.0.0.1:20443\r\n"
    b"User-Agent: python-requests/2.27.1\r\n"
    b"Accept-Encoding: gzip, deflate\r\n"
    b"Accept: */*\r\n"
    b"Connection: keep-alive\r\n"
    b"Content-Length: 0\r\n"
    b"\r\n"
)


def test_the_bytes_of_an_unmodified_client() -> None:
    """What the original's client sends is answered with a length, and the connection is kept as it asks."""
    world = World()
    line = world.line().send(RECORDED)
    reply = line.reply()
    assert (reply.status, reply.reason) == (200, "OK")
    assert reply.headers["content-type"] == "application/json"
    text = '{"success": true, "message": "Success", "data": {"_str": "bar", "last_write_ip": "192.0.2.1", '
    assert reply.body == (text + f'"last_write_ts": {NOW}}}}}').encode()
    line.send(*[RECORDED[i : i + 1] for i in range(len(RECORDED))])
    assert line.reply().json == failed("Entry 'foo' already exists")
    assert not line.closed


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /services/Get?name=foo HTTP/1.0\r\n\r\n", 200),
        (b"POST /ping/Ping/ HTTP/1.0\r\nContent-Length: 8\r\n\r\ndata=foo", 200),
        (b"POST /ping/Ping/ HTTP/1.0\r\n\r\n", 400),
        (b"DELETE /services/Delete?name=foo HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ],
)
def test_raw(head: bytes, status: int) -> None:
    """Old versions of HTTP and all of the original's verbs are answered."""
    assert World().line().send(head).reply().status == status


# -- calls, as in the tables of the reference -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "parameters", "answer"),
    [
        ("Register", {"name": "new", "data": "bar"}, found(TEXT)),
        ("Register", {"name": "foo", "data": "bar"}, failed("Entry 'foo' already exists")),
        ("Replace", {"name": "foo", "data": '{"b": 2}'}, found({"b": 2, **STAMPED})),
        ("Replace", {"name": "new", "data": "bar"}, found(TEXT)),
        ("Update", {"name": "foo", "data": '{"b": 2}'}, found({"a": {"x": 1}, "b": 2, **STAMPED})),
        ("Update", {"name": "foo", "data": '{"a": {"y": 2}}'}, found({"a": {"y": 2}, **STAMPED})),
        ("Update", {"name": "foo", "data": "bar"}, found({"a": {"x": 1}, **TEXT})),
        ("Update", {"name": "new", "data": '{"b": 2}'}, found({"b": 2, **STAMPED})),
        ("Get", {"name": "foo"}, found({"a": {"x": 1}, **STAMPED})),
        ("Get", {"name": "nope"}, failed("Entry 'nope' not found")),
        ("List", {"name": "foo"}, found({"a": {"x": 1}, **STAMPED})),
        ("List", {"name": "nope"}, failed("Entry 'nope' not found")),
        ("Delete", {"name": "foo"}, {"success": True, "message": "Success"}),
        ("Delete", {"name": "nope"}, {"success": True, "message": "Success"}),
        ("Get", {"name": "_access_key"}, failed("Entry '_access_key' not found")),
        ("Delete", {"name": "_access_key"}, {"success": True, "message": "Success"}),
        ("Register", {"name": "é ü", "data": "bar"}, found(TEXT)),
        # What the original lost, or dropped the connection over:
        ("Register", {"name": "new", "data": "{}"}, found(STAMPED)),
        ("Replace", {"name": "foo", "data": "{}"}, found(STAMPED)),
        ("Update", {"name": "foo", "data": "{}"}, found({"a": {"x": 1}, **STAMPED})),
        *[
            (method, {"name": "new", "data": text}, found({"_str": text, **STAMPED}))
            for method in ("Register", "Replace", "Update")
            for text in ("[]", "[1,2]", "5", "0", "null", "true", '"str"', "", "NaN", '["last_write_ip"]')
        ],
    ],
)
def test_services(method: str, parameters: dict[str, str], answer: dict[str, Any]) -> None:
    """Each method answers with the original's members in their order, whatever the data is."""
    world = World()
    world.call("services", "Register", name="foo", data='{"a": {"x": 1}}')
    reply = world.call("services", method, **parameters)
    assert (reply.status, reply.reason) == (200, "OK")
    assert reply.json == answer
    assert list(reply.json) == list(answer)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ("foo", {"_str": "foo"}),
        ('{"a": 1}', {"a": 1}),
        ("[1, 2]", [1, 2]),
        ("5", 5),
        ("", {"_str": ""}),
    ],
)
def test_ping(data: str, answer: object) -> None:
    """Ping gives back JSON as JSON, everything else as text, and the address of who asks."""
    reply = World().call("ping", "Ping", data=data)
    assert reply.body == json.dumps({"src": "192.0.2.1", "data": answer}).encode()


@pytest.mark.parametrize(
    ("target", "method", "status", "text"),
    [
        ("/nowhere/Get?name=x", "POST", 401, "Unauthorized package"),
        ("/api/StringIO", "POST", 401, "Unauthorized package"),
        ("/worker/X", "POST", 401, "Unauthorized package"),
        ("/_global/X", "POST", 401, "Unauthorized package"),
        ("/v1/Get", "POST", 401, "Unauthorized package"),
        ("/services/_Get?name=x", "POST", 401, "Unauthorized method"),
        ("/services/register?name=x&data=y", "POST", 401, "Unauthorized method"),
        ("/services/json", "POST", 401, "Unauthorized method"),
        ("/ping/ping?data=x", "POST", 401, "Unauthorized method"),
        ("/echo/_Test", "POST", 401, "Unauthorized method"),
        ("/echo/Nothing", "POST", 401, "Unauthorized method"),
        ("/services/Get", "POST", 400, "Missing name parameter"),
        ("/services/Get?name=", "POST", 400, "Missing name parameter"),
        ("/services/List", "POST", 400, "Missing name parameter"),
        ("/services/Delete", "POST", 400, "Missing name parameter"),
        ("/services/Replace", "POST", 400, "Missing name parameter"),
        ("/services/Replace?data=x", "POST", 400, "Missing name parameter"),
        ("/services/Register?data=x", "POST", 400, "Missing name parameter"),
        ("/services/Update?data=x", "POST", 400, "Missing name parameter"),
        ("/services/Register", "POST", 400, "Missing data parameter"),
        ("/services/Register?name=x", "POST", 400, "Missing data parameter"),
        ("/services/Update?name=x", "POST", 400, "Missing data parameter"),
        ("/services/Replace?name=x", "POST", 400, "Missing data parameter"),
        ("/ping/Ping", "POST", 400, "Missing data parameter"),
        (f"/services/Register?name=x&data={IP}", "POST", 400, "Used reserved data name last_write_ip"),
        (f"/services/Replace?name=x&data={TS}", "POST", 400, "Used reserved data name last_write_ts"),
        ("/services/Register?name=_access_key&data=x", "POST", 400, "Names that begin with _ are reserved"),
        ("/services/Get?name=%ff", "POST", 400, "Not UTF-8"),
        ("/services/Register?name=x&data=%ff", "POST", 400, "Not UTF-8"),
        ("/services", "POST", 404, "Not Found"),
        ("/", "POST", 404, "Not Found"),
        ("//services/Get", "POST", 404, "Not Found"),
        ("/a/b/c", "POST", 404, "Not Found"),
        ("/services/Get?name=x", "PUT", 501, "Unsupported method ('PUT')"),
        ("/services/Get?name=x", "PATCH", 501, "Unsupported method ('PATCH')"),
        ("/services/Register?name=x&data=y", "GET", 405, "Use POST to change something"),
        ("/services/Delete?name=x", "GET", 405, "Use POST to change something"),
        ("/echo/Test", "GET", 405, "Use POST to change something"),
        ("/echo/Slow", "POST", 504, "The extension took too long"),
        ("/echo/Full", "POST", 503, "Too many calls are waiting"),
        ("/echo/Odd", "POST", 500, "The extension failed"),
        ("/echo/Teapot", "POST", 418, "shortand: stout"),
    ],
)
def test_refusals(target: str, method: str, status: int, text: str) -> None:
    """Whatever is wrong is one status with the text as reason phrase, and as the message of a body in JSON."""
    world = World()
    world.call("services", "Register", name="x", data="before")
    reply = world.ask(target, method)
    assert (reply.status, reply.reason) == (status, text)
    assert reply.headers["content-type"] == "application/json"
    assert {**reply.json, "message": text} == failed(text)
    assert world.call("services", "Get", name="x").json["data"]["_str"] == "before"


def test_head_is_no_method() -> None:
    """HEAD is answered as the original does, without a body."""
    assert World().ask("/services/Get?name=x", "HEAD").status == 501


def test_writes_by_get_can_be_allowed() -> None:
    """With the switch, GET writes as it did."""
    world = World(get_writes=True)
    assert world.ask("/services/Register?name=x&data=y", "GET").json["success"]
    assert world.ask("/echo/Test", "GET").body == b'{"a": 1}'


# -- parameters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "body", "data"),
    [
        ("/services/Register/?name=x&data=a+b", None, "a b"),
        ("/services/Register?name=x&data=a%2Bb", None, "a+b"),
        ("/services/Register//?name=x&data=y", None, "y"),
        ("/services/Register?name=w&name=x;data=z;data=y", None, "y"),
        ("/services/Register?name=x&data=y", b"name=no&data=no", "y"),
        ("/services/Register", b"name=x&data=y", "y"),
        ("/services/Register?access_key=", b"name=x&data=y", "y"),
        ("/services/Register", b"name=x;data=", ""),
        ("/services/Register?name=x&data=", None, ""),
        ("/services/Register?name=x&data=a=b", None, "a=b"),
        ("/services/Register?name=x&data=" + "y" * 60_000, None, "y" * 60_000),
    ],
)
def test_parameters(target: str, body: bytes | None, data: str) -> None:
    """Query or body, separators, blanks and sizes are read as the original reads them."""
    world = World()
    assert world.ask(target, body=body, content_type="text/plain").json["success"]
    entry = world.registry.get("x")
    assert entry is not None
    assert entry.data == {"_str": data}


def test_a_body_of_json_is_not_understood() -> None:
    """As in the original, a body is a form, whatever its type says."""
    reply = World().ask("/services/Register", body=b'{"name": "x", "data": "y"}', content_type="application/json")
    assert reply.reason == "Missing data parameter"


def test_a_line_that_is_too_long() -> None:
    """A request line over the limit is told so."""
    assert World().ask("/ping/Ping?data=" + "y" * 80_000).status == 414


@given(target=st.binary(max_size=60).filter(lambda one: b" " not in one and b"\n" not in one and b"\r" not in one))
def test_any_target_is_an_answer(target: bytes) -> None:
    """No target leads to anything but a status of the few that there are."""
    line = World().line().send(b"POST /" + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert line.reply().status in {200, 400, 401, 404, 500}


@given(text=st.text())
def test_any_data_is_a_record(text: str) -> None:
    """What is no JSON object is kept as text, exactly."""
    try:
        data = read_data(text)
    except Refused:
        return
    assert data == {"_str": text} or isinstance(json.loads(text), dict)


@pytest.mark.parametrize("target", [b"/a.b/C", b"/a.b/C/", b"/a.b/C//", b"/a.b/C/?x=/y/z", b"/a.b/C?x"])
def test_paths(target: bytes) -> None:
    """A package may have dots, and a path may end in slashes."""
    assert read_path(target) == ("a.b", "C")


# -- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/services/Get?name=x", 401, "Incorrect access key"),
        ("/services/Get?name=x&access_key=", 401, "Incorrect access key"),
        ("/services/Get?name=x&access_key=wrong", 401, "Incorrect access key"),
        ("/services/Get?access_key=wrong", 401, "Incorrect access key"),
        ("/services/_Get?access_key=wrong", 401, "Incorrect access key"),
        ("/services/Get?name=x&access_key=other", 403, "Access key is not good for this"),
        ("/services/Get?name=x&access_key=s3cret", 200, "OK"),
        ("/services/Nope?name=x&access_key=s3cret", 401, "Unauthorized method"),
        ("/ping/Ping?data=x", 200, "OK"),
        ("/ping/Ping?data=x&access_key=wrong", 200, "OK"),
        ("/echo/Test", 401, "Incorrect access key"),
        ("/echo/Test?access_key=other", 200, "OK"),
        ("/nowhere/Test?access_key=wrong", 401, "Unauthorized package"),
    ],
)
def test_access_keys(target: str, status: int, text: str) -> None:
    """The key of a section guards that section, before anything is said of methods and parameters."""
    reply = World(KEYED).ask(target)
    assert (reply.status, reply.reason) == (status, text)


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Access_Key": "s3cret"},
        {"Authorization": "Bearer s3cret"},
        {"Authorization": "bearer  s3cret"},
    ],
)
def test_keys_in_headers(headers: dict[str, str]) -> None:
    """A key may stand in a header, which counts before the parameter."""
    assert World(KEYED).ask("/services/Get?name=x&access_key=wrong", **headers).status == 200


def test_a_key_of_ping() -> None:
    """Where ping has a key, it is asked for."""
    world = World(b'{"ping": {"_access_key": "k"}, "services": {}}', guards_ping=lambda: True)
    assert world.ask("/ping/Ping?data=x").reason == "Incorrect access key"
    assert world.ask("/ping/Ping?data=x&access_key=k").status == 200


@pytest.mark.parametrize("header", ["Digest abc", "Basic %%%", "Basic YWJj"])
def test_odd_headers(header: str) -> None:
    """An Authorization that cannot be read is refused, and never taken for nothing."""
    assert World(KEYED).ask("/ping/Ping?data=x", Authorization=header).status == 400


def test_a_password() -> None:
    """A user with a secret may log in by it, and has the rights that were given."""
    user = read({"name": "ann", "secret": "ann's", "registry_read": ["a*"]}, "test", "users[0]")
    world = World(sources=[ListedUsers([user], "test.toml")])
    basic = {"Authorization": "Basic YW5uOmFubidz"}
    assert world.ask("/services/Get?name=abc", **basic).status == 200
    assert world.ask("/services/Get?name=b", **basic).reason == "Access key is not good for this"
    assert world.ask("/services/Register?name=abc&data=x", **basic).status == 403
    assert world.ask("/services/Get?name=abc").reason == "Incorrect access key"
    assert world.ask("/services/Get?name=abc", Authorization="Basic YW5uOng=").status == 401


def test_keys_in_queries_can_be_refused() -> None:
    """With the switch off, a key in the query is not looked at, but one in a header or a body is."""
    world = World(KEYED, query_keys=False)
    assert world.ask("/services/Get?name=x&access_key=s3cret").status == 401
    assert world.ask("/services/Get", body=b"name=x&access_key=s3cret").status == 200
    assert world.ask("/services/Get?name=x&access_key=", X_Access_Key="s3cret").status == 200


def test_guessing_is_slowed_down() -> None:
    """After many wrong keys from one address, the next ones are not tried; others go on."""
    world = World(b'{"services": {"_access_key": "k"}, "ping": {"_access_key": "k"}}')
    replies = [world.ask(f"/services/Get?name=x&access_key=wrong{i}").status for i in range(150)]
    assert set(replies) == {401, 429}
    assert world.line("192.0.2.77").ask("POST", "/services/Get?name=x&access_key=k").status == 200


def test_one_connection_logs_in_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a connection shows the same key it stays logged in, and it leaves when it ends."""
    world = World(KEYED)
    logins = []
    login = world.broker.login
    monkeypatch.setattr(world.broker, "login", lambda *given: logins.append(given) or login(*given))
    line = world.line()
    for key in ("s3cret", "s3cret", "other", "other"):
        line.ask("POST", f"/services/Get?name=x&access_key={key}")
    assert len(logins) == 2
    assert (len(world.door), sum(map(len, world.broker.realm.clients.values()))) == (1, 1)
    line.hang_up()
    assert (len(world.door), len(world.broker.realm.clients)) == (0, 0)


def test_a_right_that_ends_ends_the_connection() -> None:
    """When a user is revoked, the connection on which it is logged in is closed."""
    world = World(KEYED)
    line = world.line()
    line.ask("POST", "/services/Get?name=x&access_key=s3cret")
    [client] = [one for there in world.broker.realm.clients.values() for one in there]
    client.ended("revoked")  # type: ignore[misc]
    line.advance(10)
    assert line.closed


def test_no_key_reaches_a_log_or_a_repr(caplog: pytest.LogCaptureFixture) -> None:
    """Keys are in no repr of what is passed around, and an extension does not get them."""
    world = World()
    world.ask("/echo/Test?access_key=s3cret&a=1", X_Access_Key="s3cret", Authorization="Bearer s3cret")
    [call] = world.ran.calls
    assert "s3cret" not in repr((call, call.qs, call.headers, call.path))
    assert call.qs == {"a": "1"}
    assert "s3cret" not in caplog.text


# -- what else can go wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "status"), [(NoRoom("the disk is full"), 507), (Unwritable("closed"), 503)])
def test_a_disk_that_does_not_take_it(monkeypatch: pytest.MonkeyPatch, error: Exception, status: int) -> None:
    """A write that cannot be done says why, and reading goes on."""
    world = World()
    world.call("services", "Register", name="x", data="y")
    monkeypatch.setattr(world.registry, "write", lambda *_: fail(error))
    for method in ("Register", "Replace", "Update", "Delete"):
        reply = world.call("services", method, name="x", data="z")
        assert (reply.status, reply.reason) == (status, str(error))
    assert world.call("services", "Get", name="x").json["data"]["_str"] == "y"


@pytest.mark.parametrize(
    "parameters",
    [
        {"name": "x" * 2000, "data": "y"},
        {"name": "a\0b", "data": "y"},
        {"name": "x", "data": "[" * 500 + "]" * 500},
        {"name": "x", "data": '{"a":' * 100 + "1" + "}" * 100},
    ],
)
def test_names_and_data_that_cannot_be_kept(parameters: dict[str, str]) -> None:
    """They are refused, or kept as text; never half."""
    reply = World().call("services", "Register", **parameters)
    assert reply.status == 400 or reply.json["data"]["_str"] == parameters["data"]


def test_an_extension_that_fails(bugs: list[Any]) -> None:
    """Its error is logged, and the caller learns nothing of it."""
    reply = World().ask("/echo/Broken")
    assert (reply.status, reply.reason) == (500, "The extension failed")
    assert b"secret" not in reply.body
    assert [bug.type for bug in bugs] == [ValueError]
    bugs.clear()


def test_an_extensions_answer_goes_as_it_is() -> None:
    """With status 200 the data is the body."""
    reply = World().call("echo", "Test", a="1")
    assert (reply.status, reply.body) == (200, b'{"a": 1}')


def test_nobody_by_default() -> None:
    """Where no source lets in who shows nothing, nothing is answered without a key."""
    user = read({"name": "ann", "token": "t"}, "test", "users[0]")
    world = World(sources=[ListedUsers([user], "test.toml")])
    assert world.ask("/ping/Ping?data=x").status == 401
    assert World(sources=[Anyone()]).ask("/ping/Ping?data=x").status == 200
