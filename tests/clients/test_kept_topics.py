"""What a real hpfeeds client publishes is read again with curl, by its offset; what curl produces, the client hears."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hpfeeds.asyncio import ClientSession

from tests.registry_process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 20
SAYS = """\
auth = ["anonymous:publish=>:subscribe=>"]

[[users]]
name = "sensor"
secret = "secret"
publish = ["honeypot.>"]
subscribe = ["honeypot.>"]

[[keep]]
topics = "honeypot.>"
"""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Process]:
    """Give a broker that keeps topics."""
    process = Process(tmp_path, ("hpfeeds", "kafka"), SAYS)
    process.start()
    yield process
    process.stop()


def _curl(broker: Process, target: str, *more: str) -> str:
    url = f"http://127.0.0.1:{broker.ports['kafka']}{target}"
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "--max-time", str(SECONDS), *more, url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def _publish(port: int, payloads: list[bytes]) -> None:
    async with ClientSession("127.0.0.1", port, "sensor", "secret") as session:
        session.subscribe("honeypot.ssh")
        await asyncio.wait_for(session.when_connected, SECONDS)
        for payload in payloads:
            session.publish("honeypot.ssh", payload)
        for _ in payloads:  # they have come back, so the broker has them
            await asyncio.wait_for(session.read(), SECONDS)


def test_published_and_fetched(broker: Process) -> None:
    """Each message has its offset, its sender and its time, also after the broker has been started anew."""
    asyncio.run(_publish(broker.ports["hpfeeds"], [b"zero", b"one", b"two"]))
    while [one["messages"] for one in json.loads(_curl(broker, "/v1/topics"))["topics"]] != [3]:
        time.sleep(0.01)  # a commit is a moment behind
    for _ in range(2):
        found = json.loads(_curl(broker, "/api/v2/messages/honeypot.ssh/0/1?max_wait_time=0"))
        assert [(one["offset"], one["value"]) for one in found] == [(1, "one"), (2, "two")]
        assert _curl(broker, "/api/v1/messages/honeypot.ssh/0/2", "-H", "Accept: application/binary") == "two"
        broker.stop()
        broker.start()


async def _heard(port: int, produce: asyncio.Future[None]) -> tuple[str, str, bytes]:
    async with ClientSession("127.0.0.1", port, "sensor", "secret") as session:
        session.subscribe("honeypot.ssh")
        await asyncio.wait_for(session.when_connected, SECONDS)
        session.publish("honeypot.ssh", b"ready")
        await asyncio.wait_for(session.read(), SECONDS)
        produce.set_result(None)
        heard: tuple[str, str, bytes] = await asyncio.wait_for(session.read(), SECONDS)
        return heard


def test_produced_and_heard(broker: Process) -> None:
    """What is produced by HTTP reaches an hpfeeds client at once."""

    async def both() -> tuple[str, str, bytes]:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        hearing = asyncio.create_task(_heard(broker.ports["hpfeeds"], ready))
        await asyncio.wait_for(ready, SECONDS)
        target = "/api/v1/messages/honeypot.ssh"
        arguments = (target, "--data-binary", "by curl", "-H", "Content-Type: application/binary")
        await asyncio.to_thread(_curl, broker, *arguments)
        return await hearing

    _, channel, payload = asyncio.run(both())
    assert (channel, payload) == ("honeypot.ssh", b"by curl")
