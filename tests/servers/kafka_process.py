"""A broker with kept topics in its own process, and plain requests to it."""

from __future__ import annotations

import http.client
import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from tests.registry_process import Process

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 30.0
KEEP = '[[keep]]\ntopics = ["logs.>"]\npartitions = 1\nmax_topics = 10000\n'
EVERYBODY = 'auth = ["anonymous:publish=>:subscribe=>"]\n'


class Kept(Process):
    """A broker that keeps ``logs.>``; ``says`` stands at the top of its configuration, ``listens`` at the end."""

    def __init__(
        self,
        home: Path,
        says: str = EVERYBODY,
        protocols: tuple[str, ...] = ("hpfeeds", "nats", "kafka"),
        listens: str = "",
    ) -> None:
        """Write the configuration; nothing is started yet."""
        super().__init__(home, protocols, says + KEEP)
        with (home / "broker.toml").open("a") as file:
            file.write(listens)

    @property
    def host(self) -> str:
        """Where its kept topics are asked for."""
        return f"127.0.0.1:{self.ports['kafka']}"

    @property
    def url(self) -> str:
        """The address of its page."""
        return f"http://{self.host}/"

    def ask(
        self, method: str, target: str, body: object = None, user: str = "", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Give the status, the headers and the body of an answer."""
        connection = http.client.HTTPConnection(self.host, timeout=SECONDS)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if user:
            sent["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, target, data, sent)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def json(self, method: str, target: str, body: object = None, user: str = "", **headers: str) -> Any:
        """Give the JSON of an answer, which has to be a good one."""
        status, _, data = self.ask(method, target, body, user, **headers)
        assert status < 300, (method, target, status, data)
        return json.loads(data) if data.strip() else None

    def produce(self, topic: str, *records: dict[str, Any], user: str = "") -> None:
        """Produce records of JSON."""
        kind = "application/vnd.kafka.json.v2+json"
        self.json("POST", f"/topics/{topic}", {"records": list(records)}, user, Content_Type=kind)
