"""The certificate of an install: made once, its own, renewed in time; the original's public one is refused."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher

from brokerkit import pem
from brokerkit.cli.bpclient_trust import key_digest
from brokerkit.errors import OperatorError
from brokerkit.protocols.bpbroker.certificate import (
    DAYS,
    LOOK,
    Renewing,
    fingerprint,
    key_fingerprint,
    paths,
    provide,
    sign,
)

NOW = 1_800_000_000.0
DAY = 86400.0


def alternatives(found: x509.Certificate) -> tuple[list[str], list[str]]:
    """Give the hosts and addresses in a certificate."""
    value = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return value.get_values_for_type(x509.DNSName), [str(one) for one in value.get_values_for_type(x509.IPAddress)]


def test_it_is_made_at_the_first_start(tmp_path: Path) -> None:
    """Key and certificate are for the owner's eyes alone, on P-256, and fit the machine."""
    directory = tmp_path / "data"
    found = provide(directory, ["bp.example", "10.1.2.3"], NOW)
    hosts, addresses = alternatives(found)
    assert {"localhost", "bp.example"} <= set(hosts)
    assert {"127.0.0.1", "10.1.2.3"} <= set(addresses)
    assert isinstance(found.public_key().curve, ec.SECP256R1)  # type: ignore[union-attr]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths(directory)] == [0o600, 0o600]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sorted(one.name for one in directory.iterdir()) == ["bpbroker.crt", "bpbroker.key"]
    assert len(fingerprint(found)) == 32 * 3 - 1


def test_it_stays_what_it_is(tmp_path: Path) -> None:
    """The next start finds the same one; another install has another key."""
    first = provide(tmp_path / "a", [], NOW)
    assert provide(tmp_path / "a", ["more.example"], NOW + 1000 * DAY) == first
    assert provide(tmp_path / "b", [], NOW).public_key() != first.public_key()


def test_it_is_renewed_while_the_broker_runs(tmp_path: Path) -> None:
    """Some time before the end there is a new one, with the same key."""
    clock = Clock()
    clock.rightNow = NOW
    first = provide(tmp_path, [], NOW)
    renewing = Renewing(tmp_path, [], clock)
    renewing.startService()
    clock.rightNow += (DAYS - 91) * DAY
    clock.advance(LOOK)
    assert provide(tmp_path, [], clock.seconds()) == first
    clock.rightNow += 2 * DAY
    clock.advance(LOOK)
    second = x509.load_pem_x509_certificate(paths(tmp_path)[1].read_bytes())
    renewing.stopService()
    assert second.not_valid_after_utc > first.not_valid_after_utc
    assert second.public_key() == first.public_key()
    assert clock.getDelayedCalls() == []


def test_a_renewal_is_announced(tmp_path: Path) -> None:
    """Long before, again and again, and when it has come: each time with the fingerprint that stays."""
    clock = Clock()
    clock.rightNow = NOW
    key = key_fingerprint(provide(tmp_path, [], NOW))
    said: list[str] = []

    def hear(event: Any) -> None:
        if event.get("log_namespace", "").endswith("bpbroker.certificate"):
            said.append(formatEvent(event))

    renewing = Renewing(tmp_path, [], clock)
    globalLogPublisher.addObserver(hear)
    try:
        renewing.startService()
        for days in (DAYS - 272, 4, 4, 27, 150, 10):
            clock.rightNow += days * DAY
            clock.advance(LOOK)
        renewing.stopService()
    finally:
        globalLogPublisher.removeObserver(hear)
    assert [line.partition(",")[0] for line in said[:3]] == [
        "the certificate will be renewed in 177 days",
        "the certificate will be renewed in 146 days",
        "the certificate is another one; SHA-256 of the certificate "
        + fingerprint(x509.load_pem_x509_certificate(paths(tmp_path)[1].read_bytes())),
    ]
    assert all(line.endswith(key) for line in said)


def test_the_fingerprint_of_a_key(tmp_path: Path) -> None:
    """It is what a client finds out by itself, and the same after a renewal."""
    first = provide(tmp_path, [], NOW)
    assert key_fingerprint(first).replace(":", "").lower() == key_digest(first.public_bytes(Encoding.DER))
    second = provide(tmp_path, [], NOW + (DAYS - 1) * DAY)
    assert fingerprint(second) != fingerprint(first)
    assert key_fingerprint(second) == key_fingerprint(first)


def test_a_key_without_a_certificate(tmp_path: Path) -> None:
    """A start that was cut off between the two is made good."""
    first = provide(tmp_path, [], NOW)
    paths(tmp_path)[1].unlink()
    assert provide(tmp_path, [], NOW).public_key() == first.public_key()


@pytest.mark.parametrize(("which", "content"), [(0, None), (0, b"nonsense"), (1, b"nonsense")])
def test_files_that_cannot_be_used(tmp_path: Path, which: int, content: bytes | None) -> None:
    """They are named, and nothing is put in their place."""
    provide(tmp_path, [], NOW)
    path = paths(tmp_path)[which]
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OperatorError, match=path.name):
        provide(tmp_path, [], NOW)
    assert (path.read_bytes() if path.exists() else None) == content


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """It is named, with the reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="cannot be written"):
        provide(tmp_path / "file" / "data", [], NOW)


def test_odd_names_are_left_out() -> None:
    """What cannot stand in a certificate does not stop it from being made."""
    found = sign(ec.generate_private_key(ec.SECP256R1()), ["höst", "ok.example", "x" * 300], NOW)
    assert alternatives(found)[0][:1] == ["ok.example"] or "ok.example" in alternatives(found)[0]
    assert found.not_valid_before_utc < datetime.fromtimestamp(NOW, UTC)


def test_a_key_that_everybody_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that the original ships is not served, whatever certificate it comes with."""
    assert "42a7ca2a147f567302bf2dac18bcbcbef95a46e3c4b5f45e45072ffb99b282e7" in pem.PUBLIC_KEYS
    found = provide(tmp_path, [], NOW)
    spelled: Any = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    monkeypatch.setattr(pem, "PUBLIC_KEYS", {pem.sha256(spelled).hexdigest()})
    key, cert = map(str, paths(tmp_path))
    files = {path: Path(path).read_bytes() for path in (key, cert)}
    with pytest.raises(pem.Unfit, match=r"bpbroker\.crt: everybody has this one"):
        pem.read_pair(files, key, cert)
