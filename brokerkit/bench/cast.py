"""Who takes part, and under which names: the topics, the users, the limits of all scenarios.

All names of one kind have one length, so that all frames of one case have one length too.
"""

from __future__ import annotations

import json

from brokerkit.bench.speak_hpfeeds import SECRET, Hpfeeds, accounts
from brokerkit.bench.speak_nats import Nats

SPEECHES: dict[str, type[Nats | Hpfeeds]] = {"nats": Nats, "hpfeeds": Hpfeeds}
PROTOCOLS = tuple(SPEECHES)

USER = "bench"
READY = b"bench.ready"
TOPICS = [b"bench.t%02d" % number for number in range(100)]
# Each may use two topics only: a broker may copy a user's topics at login, which is memory too.
LOOPERS = [f"l{number:04d}" for number in range(1000)]
MANY = 10_000
MEMBERS = [f"m{number:05d}" for number in range(MANY)]
HELLO = b"bench.hello"


def size_name(size: int) -> str:
    """Return a payload's size as people write it."""
    return f"{size // 1024} KiB" if size % 1024 == 0 else f"{size} B"


def own_topic(looper: str) -> bytes:
    """Return the topic on which one connection of the closed loop talks to itself."""
    return b"loop." + looper.encode()


def environment() -> dict[str, str]:
    """Return the environment variables that make these users known to a broker with --auth env."""
    loopers = [(looper, [own_topic(looper), READY]) for looper in LOOPERS]
    return accounts([(USER, [*TOPICS, READY]), *loopers])


def secret(member: str) -> str:
    """Return the secret of one of the many users."""
    return f"{SECRET}-{member}"


def users_json(generation: int = 0) -> bytes:
    """Return a file of users as hpfeeds has it: ten thousand, and the one that listens to them."""
    users = {
        member: {
            "owner": f"generation {generation}",
            "secret": secret(member),
            "pubchans": [HELLO.decode(), "bench.sessions", "bench.captures"],
            "subchans": [own_topic(member).decode()],
        }
        for member in MEMBERS
    }
    topics = [topic.decode() for topic in (*TOPICS, READY, HELLO)]
    users[USER] = {"owner": USER, "secret": SECRET, "pubchans": topics, "subchans": topics}
    return json.dumps(users, indent=1).encode()
