"""Schemathesis against the OpenAPI document of a listener: what it says is so, and nothing that is sent breaks it.

It makes requests of the document, well formed and not, and holds the answers against it.  Left out are the streams,
which have no end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.kafka_process import Kept

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = int(os.environ.get("BROKERKIT_EXAMPLES", "10"))  # requests for each operation, beside those for each rule
SECONDS = 600
pytestmark = pytest.mark.timeout(SECONDS + 60)
SETTINGS = Path(__file__).with_name("schemathesis.toml")
USER = "all:secret"
USERS = """
[[users]]
name = "all"
secret = "secret"
publish = [">"]
subscribe = [">"]
topic_admin = [">"]
"""
PARTS = {
    "kastlex": "^/(api|login|admin|metrics)",
    "modern": "^/(v1|healthz|readyz)",
    "confluent": "^/(topics|consumers|brokers)",
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Give a broker that waits for nothing long."""
    running = Kept(tmp_path_factory.mktemp("schemathesis"), USERS, listens="max_wait_seconds = 0.1\n")
    running.start()
    for i in range(3):
        running.produce("logs.a", {"key": "k", "value": i}, user=USER)
    yield running
    running.stop()


@pytest.mark.parametrize("part", PARTS)
def test_the_document_is_true(broker: Kept, part: str) -> None:
    """No answer is another one than the document says, none is 500, and nothing is taken that it forbids."""
    run(broker, SETTINGS, "--include-path-regex", PARTS[part], "--phases", "examples,coverage,fuzzing,stateful")


def test_it_is_true_of_what_is_there(broker: Kept, tmp_path: Path) -> None:
    """So it is for a topic with records and a consumer instance that reads it, which made-up names do not reach."""
    broker.json("POST", "/consumers/g", {"name": "c", "format": "json", "auto.offset.reset": "earliest"}, user=USER)
    settings = tmp_path / "schemathesis.toml"
    there = '[parameters]\n"path.group" = "g"\n"path.instance" = "c"\n"path.topic" = "logs.a"\n"path.partition" = 0\n'
    settings.write_text(there)
    only = ("--include-path-regex", PARTS["confluent"], "--exclude-method", "DELETE")
    run(broker, settings, *only, "--phases", "coverage,fuzzing", "--exclude-path-regex", "^/consumers/{group}$")
    assert broker.json("GET", "/consumers/g/instances/c/assignments", user=USER) is not None


def run(broker: Kept, settings: Path, *flags: str) -> None:
    """Have it make its requests; all has to be well."""
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(settings)),
        *("run", f"{broker.url}v1/openapi.json", "--auth", USER, "--exclude-path-regex", "/follow$", *flags),
        *("--max-examples", str(EXAMPLES), "--seed", "1", "--suppress-health-check", "all", "--warnings", "off"),
        *("--request-timeout", "20", "--no-color"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert "Traceback" not in broker.log(), broker.log()[-5_000:]
