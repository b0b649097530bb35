"""Confluent's client for Node against the broker: everything that it can do, by its own word.

``make kafka-clients`` installs it into the environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.servers.kafka_process import Kept
from tests.servers.programs import find, missing

BUILT = Path(os.environ.get("BROKERKIT_KAFKA_CLIENTS") or Path(sys.executable).parents[1] / "kafka-clients")
SECONDS = 60


def test_everything_that_it_can_do(tmp_path: Path) -> None:
    """It lists, produces with and without a partition, is refused an unknown topic, reads in a group and commits."""
    program = BUILT / "client.cjs"
    if not program.exists():
        missing(f"{program} is not there: make kafka-clients")
    node = find("node")
    running = Kept(tmp_path)
    running.start()
    try:
        running.produce("logs.node", {"value": "first"})
        done = subprocess.run(
            [node, str(program), running.url, "logs.node"], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
    finally:
        running.stop()
    assert seen["topics"] == ["logs.node"]
    assert (seen["brokers"], seen["partitions"], seen["offsets"]) == ([0], [0], [1, 2, 3])
    assert seen["refused"] == [404, 40401]
    assert seen["read"] == [[None, '"first"', 0], [None, "one", 1], ["k", "two", 2], [None, "three", 3]]
    assert seen["committed"] == [4]
