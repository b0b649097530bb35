"""The variables of KastleX, read into what a broker is told; empty is not set, and ``true`` and ``1`` are yes.

What is for its Kafka cluster, or for how it produces there, has nothing to act on here: it is named in a warning, as is
a variable that KastleX never had.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from brokerkit.config import MAX_PORT
from brokerkit.errors import ConfigError
from brokerkit.protocols.kafka_rest.settings import PORT, TOKEN_TOPIC, TOKEN_TTL, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

WHERE = "environment"
PREFIX = "KASTLEX_"
HTTPS_PORT = 8093
JWK, PASSWD, PERMISSIONS = "/etc/kastlex/jwk.pem", "./passwd.yml", "./permissions.yml"
CERT, KEY, CHAIN = "/etc/kastlex/ssl/server.crt", "/etc/kastlex/ssl/server.key", "/etc/kastlex/ssl/ca-cert.crt"
YES = ("true", "1")

KAFKA = ("KAFKA_CLUSTER", "KAFKA_USE_SSL", "KAFKA_CACERTFILE", "KAFKA_CERTFILE", "KAFKA_KEYFILE", "KAFKA_SASL_FILE")
PRODUCER = tuple(
    f"PRODUCER_{name}"
    for name in (
        "REQUIRED_ACKS",
        "ACK_TIMEOUT",
        "PARTITION_BUFFER_LIMIT",
        "PARTITION_ONWIRE_LIMIT",
        "MAX_BATCH_SIZE",
        "MAX_RETRIES",
        "RETRY_BACKOFF_MS",
        "MAX_LINGER_MS",
        "MAX_LINGER_COUNT",
    )
)
READ = (
    "HTTP_PORT",
    "USE_HTTPS",
    "HTTPS_PORT",
    "CERTFILE",
    "KEYFILE",
    "CACERTFILE",
    "SECRET_KEY_BASE",
    "JWK_FILE",
    "PERMISSIONS_FILE_PATH",
    "PASSWD_FILE_PATH",
    "CG_EXCLUDE_REGEX",
    "ENABLE_TOKEN_STORAGE",
    "TOKEN_STORAGE_TOPIC",
    "TOKEN_TTL_SECONDS",
)


@attrs.frozen
class Told:
    """What the variables say; ``https`` is the port of HTTPS, ``None`` without it."""

    http: int
    https: int | None
    certificate: str
    key: str
    chain: str
    passwd: str
    permissions: str
    settings: Settings
    warnings: tuple[str, ...]


def read(environment: Mapping[str, str]) -> Told:
    """Give what is said; raise ``ConfigError`` naming the variable for what cannot be meant."""
    given = {key.removeprefix(PREFIX): value for key, value in environment.items() if key.startswith(PREFIX) and value}
    secure = given.get("USE_HTTPS") in YES
    chain = given.get("CACERTFILE", "")
    return Told(
        http=_port(given, "HTTP_PORT", PORT),
        https=_port(given, "HTTPS_PORT", HTTPS_PORT) if secure else None,
        certificate=given.get("CERTFILE", CERT),
        key=given.get("KEYFILE", KEY),
        chain=chain or (CHAIN if Path(CHAIN).is_file() else ""),
        passwd=given.get("PASSWD_FILE_PATH", PASSWD),
        permissions=given.get("PERMISSIONS_FILE_PATH", PERMISSIONS),
        settings=_settings(given),
        warnings=tuple(_warnings(given)),
    )


def _settings(given: Mapping[str, str]) -> Settings:
    return Settings(
        # Where none is named and there is none at the usual place, the install makes its own.
        jwk_file=given.get("JWK_FILE") or (JWK if Path(JWK).is_file() else ""),
        token_ttl_seconds=float(_number(given, "TOKEN_TTL_SECONDS", int(TOKEN_TTL), 10**12)),
        token_storage=given.get("ENABLE_TOKEN_STORAGE") in YES,
        token_storage_topic=given.get("TOKEN_STORAGE_TOPIC", TOKEN_TOPIC),
        exclude_groups=given.get("CG_EXCLUDE_REGEX", ""),
    )


def _port(given: Mapping[str, str], name: str, usual: int) -> int:
    return _number(given, name, usual, MAX_PORT)


def _number(given: Mapping[str, str], name: str, usual: int, most: int) -> int:
    text = given.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise ConfigError(WHERE, PREFIX + name, text, f"a whole number up to {most}")
    return int(text)


def _warnings(given: Mapping[str, str]) -> list[str]:
    cluster = [PREFIX + name for name in KAFKA if name in given]
    producer = [PREFIX + name for name in PRODUCER if name in given]
    found = []
    if cluster:
        found.append(f"{', '.join(cluster)}: no Kafka cluster is used; messages are kept in this broker's own log")
    if producer:
        found.append(f"{', '.join(producer)}: nothing to tune; every message is on disk before it is answered")
    for name in sorted({*given} - {*KAFKA, *PRODUCER, *READ}):
        near = get_close_matches(name, READ, 1)
        found.append(f"{PREFIX}{name}: KastleX has no such variable{f'; {PREFIX}{near[0]}?' if near else ''}")
    return found
