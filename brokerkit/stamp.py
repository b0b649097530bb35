"""What compiled modules were built from, as one word: those of one word fit each other, and the code beside them.

They reach into each other's memory by offsets, which the compiler takes from the sources below.  So the word is a
digest of all of these.  Building writes it into each module (``setup.py``), and ``brokerkit.compiled`` uses no module
that has another one.  It imports nothing of the package: whoever builds has not installed it yet.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = (  # below the package; the last ones have twins among the others, with the same fields
    "_heart.pxd",
    "_heart.pyx",
    "protocols/hpfeeds/_scanner.pyx",
    "protocols/nats/_scanner.pyx",
    "fields.py",
    "holding.py",
    "pile.py",
    "trie.py",
)


def stamp(package: Path) -> str:
    """Give the stamp of a package's directory; empty where the sources of its compiled modules are not all there."""
    digest = blake2b(digest_size=16)
    try:
        for name in SOURCES:
            data = (package / name).read_bytes()
            digest.update(b"%d " % len(data) + data)
    except OSError:
        return ""
    return digest.hexdigest()
