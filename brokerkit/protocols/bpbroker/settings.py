"""What one bpbroker listener can be told; the names are the original's where it has one.

A setting that is ``None`` leaves what ``bpbroker.json`` says, if a ``config`` is named, and else the default.
"""

from __future__ import annotations

import attrs

PORT = 20443
LIBRARY = "/usr/local/bpbroker/lib"
BACKUP_FREQ, BACKUP_RETAIN, HEALTHCHECK_FREQ = 3600.0, 24, 10.0


@attrs.frozen
class Settings:
    """The keys of a ``[[listen]]`` table with ``protocol = "bpbroker"``.

    ``config`` is a ``bpbroker.json``: its registry is taken over once, its access keys count, and it is written again
    as a view of what is there.  ``below`` is another one that it is put over, and that is only read: the original's
    global file.  ``healthcheck_freq_sec`` and ``backup_freq_secs`` are in seconds, 0 for never; ``discovery_rate`` is
    answers in a second to one address.
    """

    config: str = ""
    below: str = ""
    library: str = LIBRARY
    extensions: tuple[str, ...] = ()
    extension_time: float = 30.0
    extension_concurrency: int = 1
    legacy_get_writes: bool = False
    allow_query_key: bool = True
    plain: bool = False
    discovery: bool = True
    discovery_networks: tuple[str, ...] = ()
    discovery_rate: int = 10
    discovery_key: str = attrs.field(default="", repr=False)
    mdns: bool = False
    certificate_names: tuple[str, ...] = ()
    healthcheck_freq_sec: float | None = None
    healthcheck_networks: tuple[str, ...] = ()
    backup_freq_secs: float | None = None
    backup_retain_n: int | None = None
    max_connections: int = 10_000
    max_connections_per_address: int = 0
