"""What the disk takes below the temporary directory, where the brokers write; ``TMPDIR`` chooses another one."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from brokerkit.bench.contest import Measure

SYNC = Measure("4 KiB written and synced alone", "ms", compared=False)
STREAM = Measure("4 MiB at a time, each written and synced", "MB/s", compared=False)
CHUNK = os.urandom(4 * 1024 * 1024)
CHUNKS = 64  # a quarter of a gigabyte


def file_system() -> str:
    """Give the kind of the file system."""
    place = os.path.realpath(tempfile.gettempdir())
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    found = [(where, kind) for where, kind in mounts if where == "/" or f"{place}/".startswith(f"{where}/")]
    return max(found, key=lambda one: len(one[0]), default=("", "unknown"))[1]


def sync() -> float:
    """Give how long a small write takes until it is on disk, in ms: the median of some."""
    times = []
    with tempfile.NamedTemporaryFile(prefix="bench-") as file:
        for _ in range(50):
            start = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - start) * 1000)
    return sorted(times)[len(times) // 2]


def stream() -> float:
    """Give how much a file takes in a second that is only ever added to, in MB/s."""
    with tempfile.NamedTemporaryFile(prefix="bench-", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(CHUNKS):
            file.write(CHUNK)
            os.fdatasync(file.fileno())
        return CHUNKS * len(CHUNK) / (time.perf_counter() - start) / 1e6
