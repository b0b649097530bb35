"""What one listener of kept topics can be told."""

from __future__ import annotations

import attrs

PORT = 8092
TOKEN_TTL = 30 * 24 * 3600.0
TOKEN_TOPIC = "_kastlex_tokens"  # noqa: S105  a name
MAX_BODY = 16 * 1024 * 1024


@attrs.frozen
class Settings:
    """The keys of a ``[[listen]]`` table with ``protocol = "kafka"``.

    ``jwk_file`` is the P-521 key (PEM) that signs tokens; without one the install has its own in the data directory.
    With ``token_storage`` a user has one token at a time, kept in ``token_storage_topic``, and it can be revoked.
    ``exclude_groups`` is a regular expression: consumer groups that it finds something in are not shown to KastleX'
    clients.  ``metrics_login`` lets only those see ``/metrics`` who may list the groups.  ``cors`` are origins of pages
    that may ask, ``*`` for all.  ``max_body_bytes`` is for one request, unpacked too; ``requests_per_second`` and
    ``bytes_per_second`` for one user, 0 for no bound.
    """

    jwk_file: str = ""
    token_ttl_seconds: float = TOKEN_TTL
    token_storage: bool = False
    token_storage_topic: str = TOKEN_TOPIC
    exclude_groups: str = ""
    metrics_login: bool = False
    cors: tuple[str, ...] = ()
    max_body_bytes: int = MAX_BODY
    max_wait_seconds: float = 300.0
    max_followers: int = 10_000
    requests_per_second: float = 0.0
    bytes_per_second: float = 0.0
    max_connections: int = 10_000
    max_connections_per_address: int = 0
