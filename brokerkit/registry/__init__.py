"""The registry: names and JSON objects that last, with one revision counter, leases, and word of every change.

``Registry`` is a service of the broker.  Reading is a plain look-up in memory; a write is answered when it is on disk.
"""

from brokerkit.registry.decide import Limits
from brokerkit.registry.service import Registry
from brokerkit.registry.words import (
    Change,
    Check,
    Compacted,
    Conflict,
    Delete,
    Entry,
    Merge,
    NoRoom,
    Put,
    RegistryError,
    Release,
    Renew,
    Unusable,
    Unwritable,
)

__all__ = [
    "Change",
    "Check",
    "Compacted",
    "Conflict",
    "Delete",
    "Entry",
    "Limits",
    "Merge",
    "NoRoom",
    "Put",
    "Registry",
    "RegistryError",
    "Release",
    "Renew",
    "Unusable",
    "Unwritable",
]
