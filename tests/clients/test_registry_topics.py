"""The registry as other programs see it: NATS hears of its changes and asks, an original client's bytes work."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import nats
import nats.errors
import pytest

from tests.registry_process import Process, unverified

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from nats.aio.client import Client

USERS = """
[[users]]
name = "writer"
token = "writer's key"
registry_read = ["*"]
registry_write = ["*"]

[[users]]
name = "web"
secret = "secret"
token = "web's key"
subscribe = ["_INBOX.>"]
registry_read = ["web-*"]
registry_write = ["web-*"]

[[users]]
name = "all"
secret = "secret"
publish = [">"]
subscribe = [">"]
"""
KEY = {"X-Access-Key": "writer's key"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Run a broker for the tests of this module."""
    broker = Process(tmp_path_factory.mktemp("registry"), ["bpbroker", "nats"], "")
    file = broker.home / "broker.toml"
    file.write_text(file.read_text() + USERS)
    broker.start()
    yield broker
    broker.stop()


@asynccontextmanager
async def connected(broker: Process, user: str) -> AsyncIterator[tuple[Client, list[Exception]]]:
    """Connect by NATS, and collect what the client is told of errors."""
    errors: list[Exception] = []

    async def note(error: Exception) -> None:
        errors.append(error)

    url = f"nats://127.0.0.1:{broker.ports['nats']}"
    async with await nats.connect(url, user=user, password="secret", allow_reconnect=False, error_cb=note) as client:
        yield client, errors


def _put(broker: Process, name: str, data: dict[str, Any]) -> None:
    api = broker.api()
    assert api.ask("PUT", f"/v1/kv/{name}", data, KEY)[0] in {200, 201}
    api.close()


async def _write(broker: Process, name: str, data: dict[str, Any]) -> None:
    await asyncio.to_thread(_put, broker, name, data)


async def test_changes_are_seen_live(running: Process) -> None:
    """A NATS client that may read some names hears of those when they are written, and of no others."""
    async with connected(running, "web") as (client, errors):
        heard = await client.subscribe("registry.*")
        await client.flush()
        await _write(running, "other", {"a": 0})
        await _write(running, "web-1", {"a": 1})
        message = await heard.next_msg(timeout=10)
        change = json.loads(message.data)
        assert message.subject == "registry.web-1"
        assert (change["operation"], change["name"], change["record"]["data"]) == ("put", "web-1", {"a": 1})
        assert change["record"]["last_write_by"] == "writer"
    assert errors == []


async def test_a_request_reads(running: Process) -> None:
    """The same client asks for an entry, for one that is not there, and for one that it may not read."""
    await _write(running, "web-2", {"port": 80})
    await _write(running, "db", {})
    async with connected(running, "web") as (client, _):
        found = json.loads((await client.request("registry-get.web-2", timeout=10)).data)
        assert (found["status"], found["record"]["data"]) == (200, {"port": 80})
        assert json.loads((await client.request("registry-get.web-9", timeout=10)).data)["status"] == 404
        with pytest.raises(nats.errors.TimeoutError):
            await client.request("registry-get.db", timeout=0.5)


async def test_who_may_all_topics_is_left_out(running: Process) -> None:
    """A grant of ``>`` neither hears of the registry, nor subscribes to it, nor speaks for it."""
    async with connected(running, "all") as (client, errors):
        heard = await client.subscribe(">")
        await client.subscribe("registry.>")
        await client.publish("registry.web-1", b"{}")
        await client.flush()
        await _write(running, "web-1", {"a": 2})
        await client.publish("the.end")
        assert (await heard.next_msg(timeout=10)).subject == "the.end"
        for _ in range(100):
            if len(errors) == 2:
                break
            await asyncio.sleep(0.05)
    text = "\n".join(map(str, errors)).lower()
    assert 'permissions violation for subscription to "registry.>"' in text
    assert 'permissions violation for publish to "registry.web-1"' in text


# -- the original's client --------------------------------------------------------------------------------------------

RECORDED = (
    b"POST /services/%b/?access_key=%b&name=%b&data=%b HTTP/1.1\r\n"
    b"Host: 127.0.0.1:%d\r\nUser-Agent: python-requests/2.28.2\r\nAccept-Encoding: gzip, deflate\r\n"
    b"Accept: */*\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
)
RECORDED_GET = (
    b"POST /services/%b/?access_key=%b&name=%b HTTP/1.1\r\n"
    b"Host: 127.0.0.1:%d\r\nUser-Agent: python-requests/2.28.2\r\nAccept-Encoding: gzip, deflate\r\n"
    b"Accept: */*\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
)


class Original:
    """Sends what the original's client sends, one connection for each call, and reads what comes."""

    def __init__(self, broker: Process) -> None:
        """Call that broker."""
        self._port = broker.ports["bpbroker"]

    def call(
        self, method: bytes, name: bytes, data: bytes | None = None, key: bytes = b"web%27s+key"
    ) -> tuple[str, Any]:
        """Give the status line, and the JSON of the body."""
        words = (method, key, name, self._port) if data is None else (method, key, name, data, self._port)
        return self.say((RECORDED_GET if data is None else RECORDED) % words)

    def say(self, request: bytes) -> tuple[str, Any]:
        """Send it, and read one answer as an HTTP client does."""
        plain = socket.create_connection(("127.0.0.1", self._port), 10)
        with unverified().wrap_socket(plain) as connection:
            connection.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += self._more(connection)
            head, _, body = answer.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:])}
            while len(body) < int(headers["content-length"]):
                body += self._more(connection)
        return lines[0].partition(" ")[2], json.loads(body)

    @staticmethod
    def _more(connection: socket.socket) -> bytes:
        chunk = connection.recv(65536)
        assert chunk, "the connection was closed before the answer was whole"
        return chunk


def test_an_original_clients_bytes(running: Process) -> None:
    """Register, replace, update, get and delete, byte for byte as the unmodified client asks for them."""
    original = Original(running)
    status, answer = original.call(b"Register", b"web-o", b"bar")
    assert (status, answer["success"], answer["data"]["_str"]) == ("200 OK", True, "bar")
    assert answer["data"]["last_write_ip"] == "127.0.0.1"
    status, answer = original.call(b"Register", b"web-o", b"bar")
    assert (status, answer["message"]) == ("200 OK", "Entry 'web-o' already exists")
    _, answer = original.call(b"Replace", b"web-o", b"%7B%22a%22%3A+1%7D")
    assert answer["data"]["a"] == 1
    _, answer = original.call(b"Update", b"web-o", b"%7B%22b%22%3A+2%7D")
    assert (answer["data"]["a"], answer["data"]["b"]) == (1, 2)
    assert original.call(b"Get", b"web-o")[1]["data"]["b"] == 2
    assert original.call(b"Delete", b"web-o")[1] == {"success": True, "message": "Success"}
    assert original.call(b"Get", b"web-o")[1]["message"] == "Entry 'web-o' not found"


def test_an_original_clients_key(running: Process) -> None:
    """A wrong key is refused in the original's words, and so is a name that the key is not good for."""
    original = Original(running)
    status, answer = original.call(b"Get", b"web-o", key=b"wrong")
    assert status == "401 Incorrect access key"
    assert answer == {"success": False, "message": "Incorrect access key", "data": {}}
    assert original.call(b"Get", b"db")[0].startswith("403 ")
    assert original.call(b"Replace", b"db", b"x")[0].startswith("403 ")


def test_a_long_value_in_the_query(running: Process) -> None:
    """60 000 bytes in the request line work, as they did."""
    value = b"v" * 60_000
    original = Original(running)
    assert original.call(b"Replace", b"web-long", value)[0] == "200 OK"
    assert original.call(b"Get", b"web-long")[1]["data"]["_str"] == value.decode()


def test_keys_are_not_in_the_log(running: Process) -> None:
    """Nothing that was shown as a key stands in what the broker says."""
    Original(running).call(b"Get", b"web-o", key=b"a+secret+that+slipped")
    said = running.log()
    for key in ("slipped", "writer's key", "web's key", "web%27s"):
        assert key not in said
