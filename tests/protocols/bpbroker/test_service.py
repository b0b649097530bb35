"""A whole listener on a test's reactor: what is put together from a configuration, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from twisted.internet.testing import MemoryReactorClock

from brokerkit.app import make_broker, make_sources
from brokerkit.config import structure
from brokerkit.credentials import Token
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, patterns
from brokerkit.metrics import Numbers
from brokerkit.plugin import protocols
from brokerkit.protocols.bpbroker.certificate import fingerprint
from brokerkit.registry import Put
from tests.protocols.bpbroker.test_view import AtOnce
from tests.talk import Line

if TYPE_CHECKING:
    from pathlib import Path

    from brokerkit.broker import Broker
    from brokerkit.protocols.bpbroker.service import Bpbroker


def build(listen: dict[str, Any], *, data_dir: Path | None = None, auth: tuple[str, ...] = ("anonymous",)) -> Broker:
    """Give a broker with one listener, not started."""
    table = {"protocol": "bpbroker", "discovery": False, **listen}
    config = {"listen": [table], "auth": list(auth), **({"data_dir": str(data_dir)} if data_dir else {})}
    return make_broker(structure(config, protocols(), "test"), MemoryReactorClock())


def listener(broker: Broker) -> Bpbroker:
    """Give its listener."""
    [found] = broker.listening
    return found  # type: ignore[no-any-return]


PLAIN = {"endpoint": "tcp:port=0", "plain": True}


def test_both_apis_are_there_on_one_registry() -> None:
    """What is written by one is read by the other."""
    broker = build(PLAIN)
    line = Line(listener(broker).site)
    assert line.ask("POST", "/services/Register/?name=a&data=b").json["success"]
    assert line.ask("GET", "/v1/kv/a").json["data"] == {"_str": "b"}
    assert line.ask("GET", "/v1/nothing").json["message"] == "Unauthorized package"
    assert line.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ({"endpoint": "tcp:port=0"}, "expected tls: in the place"),
        ({}, "data_dir: found None, expected a directory for key and certificate"),
        ({"endpoint": "tls:port=0:key=nothing.key:cert=nothing.crt"}, "nothing.crt"),
        ({**PLAIN, "discovery": True, "discovery_networks": ["x"]}, "networks: found 'x'"),
        ({**PLAIN, "config": "/nothing/here.json", "networks": ["y"]}, "networks: found 'y'"),
        ({**PLAIN, "mode": "push"}, "mode: found 'push', expected nothing: rights say who"),
        ({"endpoint": "tcp:port=0:mode=push", "plain": True}, "endpoint: found 'mode=push', expected nothing"),
        ({**PLAIN, "topic_prefix": "lan"}, "topic_prefix: found 'lan', expected nothing: registry_prefix"),
        ({**PLAIN, "certificate_user": "cn"}, "certificate_user: found 'cn', expected nothing: a certificate opens"),
        ({**PLAIN, "certificate_pattern": "(.)"}, r"certificate_pattern: found '\(.\)', expected nothing"),
        ({**PLAIN, "no_auth_user": "ann"}, "no_auth_user: found 'ann', expected nothing: auth ="),
    ],
)
def test_what_cannot_work(listen: dict[str, Any], words: str) -> None:
    """It is refused before anything is opened, in one line."""
    with pytest.raises(OperatorError, match=words):
        build(listen)


def test_an_install_has_its_own_certificate(tmp_path: Path) -> None:
    """It is in the data directory, and the listener says its fingerprint."""
    found = listener(build({"endpoint": "tls:port=0"}, data_dir=tmp_path))
    certificate = x509.load_pem_x509_certificate((tmp_path / "bpbroker.crt").read_bytes())
    assert found.fingerprint == fingerprint(certificate).replace(":", "").lower()


def test_requests_wait_for_the_file(tmp_path: Path) -> None:
    """Nobody is answered out of a registry that is not there yet; then all that waited are."""
    file = tmp_path / "bpbroker.json"
    file.write_text(json.dumps({"services": {"old": {"x": 1}, "_access_key": "k"}}))
    broker = build({**PLAIN, "config": str(file)})
    found = listener(broker)
    view: Any = found.view
    view._threads = AtOnce()
    line = Line(found.site).begin("POST", "/services/Get?name=old&access_key=k")
    assert line.received == b""
    view.startService()
    assert line.reply().json["data"]["x"] == 1
    view.stopService()
    assert json.loads(file.read_text())["services"]["_access_key"] == "k"


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    """It ends the start with its name and the line."""
    file = tmp_path / "bpbroker.json"
    file.write_text("{\n oops")
    with pytest.raises(OperatorError, match=r"bpbroker\.json:2: is no JSON"):
        build({**PLAIN, "config": str(file)})


def test_what_is_counted(tmp_path: Path) -> None:
    """The page of metrics has answers, datagrams, connections, calls of extensions and writes of the file."""
    file = tmp_path / "bpbroker.json"
    broker = build({**PLAIN, "discovery": True, "discovery_networks": ["10.0.0.0/8"], "config": str(file)})
    found = listener(broker)
    view: Any = found.view
    view._threads = AtOnce()
    view.startService()
    line = Line(found.site)
    line.ask("POST", "/services/Get")
    found.extensions.failures, found.extensions.overdue, found.extensions.replaced = 3, 2, 1
    view.write_now()
    assert found.discovery is not None
    found.discovery.answer(b"foo\n", "192.0.2.1")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in Numbers(broker).collect()
        for sample in family.samples
    }
    assert samples["brokerkit_http_answers_total", "bpbroker", "400"] == 1
    assert samples["brokerkit_datagrams_total", "bpbroker", "network"] == 1
    assert samples["brokerkit_connections", "bpbroker"] == 1
    assert samples["brokerkit_connections_accepted_total", "bpbroker"] == 1
    assert samples["brokerkit_extension_calls_total", "bpbroker", "failed"] == 3
    assert samples["brokerkit_extension_calls_total", "bpbroker", "timeout"] == 2
    assert samples["brokerkit_extension_processes_total", "bpbroker", "replaced"] == 1
    assert samples["brokerkit_file_writes_total", "bpbroker", "done"] == 1
    assert samples["brokerkit_registry_backup_failures_total",] == 0
    line.hang_up()


def _asked_by(listen: dict[str, Any], **user: Any) -> int:
    """Give the status for a user with a key, of a listener."""
    table = {"protocol": "bpbroker", "discovery": False, **PLAIN, **listen}
    users = [{"name": "ann", "token": "ann's", "registry_read": ["*"], **user}]
    broker = make_broker(structure({"listen": [table], "users": users}, protocols(), "test"), MemoryReactorClock())
    line = Line(listener(broker).site)
    return line.ask("GET", "/v1/kv/a", headers={"x-access-key": "ann's"}).status


def test_users_of_some_protocols() -> None:
    """Who may come by this protocol gets in, and who may only come by others does not."""
    assert _asked_by({}, protocols=["nats", "bpbroker"]) == 404
    assert _asked_by({}, protocols=["nats"]) == 401


def test_the_registry_is_of_one_tenant() -> None:
    """Users of others are refused there; where no tenant is said, it is that of the users who are given none."""
    assert _asked_by({"tenant": "sensors"}, tenant="sensors") == 404
    assert _asked_by({"tenant": "sensors"}) == 401
    assert _asked_by({}) == 404
    assert _asked_by({}, tenant="sensors") == 401


def test_changes_are_told_in_the_tenant_of_the_registry() -> None:
    """Whoever is of that tenant hears of them, and nobody else; only there are its topics the broker's own."""
    broker = build({"tenant": "sensors", **PLAIN})
    heard: list[str] = []
    everything = Grants({PUBLISH: ALL.access(PUBLISH), SUBSCRIBE: Access(patterns([b"registry.>"]))}, ALL.others)
    for tenant in ("", "sensors"):
        client = broker.client(grants=everything, tenant=tenant)
        client.subscribe(b"registry.>", lambda _, tenant=tenant: heard.append(tenant))
    broker.registry.write([Put("a", {})], "ann", "192.0.2.1")
    assert heard == ["sensors"]


def test_two_tenants_cannot_share_the_registry() -> None:
    """There is one registry, so that two listeners of it have to be of one tenant."""
    tables = [{"protocol": "bpbroker", "discovery": False, "tenant": one, **PLAIN} for one in ("sensors", "others")]
    with pytest.raises(ConfigError, match="there is one registry"):
        make_broker(structure({"listen": tables, "auth": ["anonymous"]}, protocols(), "test"), MemoryReactorClock())


def test_access_keys_are_of_the_tenant(tmp_path: Path) -> None:
    """Keys in a bpbroker.json are good at the listener that names the file, whatever its tenant."""
    (tmp_path / "bpbroker.json").write_text('{"services": {"_access_key": "long enough"}}', encoding="utf-8")
    table = {"protocol": "bpbroker", "discovery": False, "tenant": "sensors", **PLAIN}
    table["config"] = str(tmp_path / "bpbroker.json")
    [keys] = make_sources(structure({"listen": [table]}, protocols(), "test"), MemoryReactorClock(), protocols())
    assert keys.find(Token(b"long enough")).user.tenant == "sensors"
    assert keys.find(Token(b"another one")) is None
