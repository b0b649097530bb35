"""The child's side of extensions: what can be called, what an answer may be, and the module ``bpbroker``."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from brokerkit.protocols.bpbroker import extension_child as child
from brokerkit.protocols.bpbroker.extension_data import ExtensionData
from brokerkit.protocols.bpbroker.extension_frames import frame, read
from brokerkit.protocols.bpbroker.extension_shim import Asking, Config, Refused, install
from brokerkit.registry import Put, Registry

CONTRIB = Path(__file__).parents[3] / "contrib" / "extensions"
TOLD = {
    "package": "p",
    "method": "M",
    "qs": {"data": "x"},
    "address": "192.0.2.7",
    "command": "POST",
    "path": "/p/M/",
    "headers": {"user-agent": "me"},
}
MODULE = """
from json import dumps
from pathlib import PurePath as Path
NUMBER = 5
def Method(rh): pass
def _hidden(rh): pass
class Kind:
    def __init__(self, rh): rh.data = "made"
Other = dumps
lambda_ = lambda rh: None
"""


class Direct(Asking):
    """Asks a broker that is in the same process."""

    def __init__(self, data: ExtensionData) -> None:
        """Ask that."""
        super().__init__(io.BytesIO(), io.BytesIO())
        self._data = data
        self.locked: list[str] = []

    def ask(self, what: str, **more: Any) -> Any:
        """Give the answer, by way of JSON as in the pipes."""
        if what in {"lock", "unlock"}:
            self.locked.append(what)
            return True
        results: list[Any] = []
        question = json.loads(json.dumps({"ask": what, **more}))
        Deferred.fromCoroutine(self._data.answer(question, "p", "192.0.2.7")).addBoth(results.append)
        answer = json.loads(json.dumps(results[0]))
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer["answer"]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a library directory, at the end of the path."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


@pytest.fixture
def registry() -> Registry:
    """Give a registry in memory."""
    return Registry(None, Clock())


@pytest.fixture
def config(registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
    """Give ``bpbroker.config`` over it."""
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    sections = {"p": {"_access_key": "hush", "limit": 3}, "agents": {"file": str(tmp_path / "keys")}}
    return install(Direct(ExtensionData(registry, sections)))


# -- what can be called -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Method", "Kind", "lambda_"])
def test_what_a_module_defines(library: Path, name: str) -> None:
    """Functions and classes that a module defines can be called."""
    (library / "mine_a.py").write_text(MODULE)
    assert callable(child.find("mine_a", name, library))


@pytest.mark.parametrize("name", ["_hidden", "NUMBER", "dumps", "Path", "Other", "nothing", "__name__", "", "Method.x"])
def test_what_a_module_does_not_define(library: Path, name: str) -> None:
    """What it has imported, or hides, or what is no function, cannot."""
    (library / "mine_b.py").write_text(MODULE)
    with pytest.raises(child.NoSuchMethod):
        child.find("mine_b", name, library)


def test_all(library: Path) -> None:
    """A module that says what it offers offers nothing else."""
    (library / "mine_c.py").write_text(MODULE + "\n__all__ = ['Kind']\n")
    assert child.find("mine_c", "Kind", library)
    with pytest.raises(child.NoSuchMethod, match="__all__"):
        child.find("mine_c", "Method", library)


@pytest.mark.parametrize("package", ["json", "os", "sys", "brokerkit.errors", "..x", "a..b", ".", "_p", "a._b", "none"])
def test_other_modules(library: Path, package: str) -> None:
    """A module that is not in the library directory has nothing that could be called."""
    with pytest.raises(child.NoSuchMethod):
        child.find(package, "dumps", library)


def test_what_cannot_be_imported(library: Path) -> None:
    """A module that fails to load is as one that is not there; the log hears why, and it is tried again."""
    (library / "mine_d.py").write_text("raise SystemExit('no')")
    for _ in range(2):
        with pytest.raises(child.NoSuchMethod, match="SystemExit: no"):
            child.find("mine_d", "M", library)


def test_packages(library: Path) -> None:
    """A package may have dots."""
    (library / "mine_e").mkdir()
    (library / "mine_e" / "deep.py").write_text(MODULE)
    assert child.find("mine_e.deep", "Method", library)


# -- what an extension gets and gives ---------------------------------------------------------------------------------


def test_the_request() -> None:
    """It has what the original's has."""
    rh = child.RequestHandler(TOLD)
    assert (rh.qs, rh.RequestingHost(), rh.client_address) == ({"data": "x"}, "192.0.2.7", ("192.0.2.7", 0))
    assert (rh.package, rh.method, rh.path, rh.command) == ("p", "M", "/p/M/", "POST")
    assert rh.headers["User-Agent"] == "me"
    assert (rh.status, rh.status_message, rh.content_type, rh.data) == (200, "", "Application/json", "")


@pytest.mark.parametrize("data", ["ä", b"\xc3\xa4", bytearray(b"\xc3\xa4")])
def test_text_and_bytes(data: object) -> None:
    """An answer is text, which goes out as UTF-8, or bytes."""
    rh = child.RequestHandler(TOLD)
    rh.data = data
    assert base64.b64decode(child.outcome(rh, 100)["data"]) == b"\xc3\xa4"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("data", {"a": 1}),
        ("data", None),
        ("data", "x" * 101),
        ("data", "\udcff"),
        ("status", 99),
        ("status", 100),
        ("status", 600),
        ("status", "no"),
        ("status", None),
    ],
)
def test_answers_that_cannot_be(member: str, value: object) -> None:
    """What is too long, or cannot be sent, is an error."""
    rh = child.RequestHandler(TOLD)
    setattr(rh, member, value)
    with pytest.raises((TypeError, ValueError)):
        child.outcome(rh, 100)


def test_no_second_line() -> None:
    """Nothing that an extension says can break out of its line in the head."""
    rh = child.RequestHandler(TOLD)
    rh.status, rh.status_message, rh.content_type = "418", "tea\r\nSet-Cookie: x", "text/plain\nX: y"
    found = child.outcome(rh, 100)
    assert (found["status"], found["status_message"]) == (418, "teaSet-Cookie: x")
    assert found["content_type"] == "text/plainX: y"


# -- the module bpbroker ----------------------------------------------------------------------------------------------


def _data(registry: Registry, name: str) -> Any:
    entry = registry.get(name)
    return entry and entry.data


def test_imports(config: Config) -> None:
    """Both ways of importing it work."""
    import bpbroker  # type: ignore[import-not-found]
    import bpbroker.config as directly  # type: ignore[import-not-found]

    assert bpbroker.config is directly is config


def test_reading(config: Config, registry: Registry) -> None:
    """It reads like the original's dict."""
    for hundred in range(7):
        puts = [Put(f"n{number:04}", {"x": number}) for number in range(hundred * 100, hundred * 100 + 100)]
        registry.write(puts, "", "192.0.2.1")
    services = config.data["services"]
    assert services["n0003"] == {"x": 3, "last_write_ip": "192.0.2.1", "last_write_ts": 0}
    assert "n0003" in services
    assert "gone" not in services
    assert services.get("_access_key") is None
    assert len(services) == 700
    assert list(config.data) == ["services", "p", "agents"]
    assert config.data["p"] == {"limit": 3}
    with pytest.raises(KeyError):
        config.data["other"]


def test_assigning(config: Config, registry: Registry) -> None:
    """What is assigned is written at once, without what the broker adds by itself."""
    services = config.data["services"]
    services["a"] = {"x": 1, "last_write_ip": "1.1.1.1"}
    assert _data(registry, "a") == {"x": 1}
    del services["a"]
    assert registry.get("a") is None
    with pytest.raises(KeyError):
        del services["a"]
    for name, value in (("a", 5), ("_a", {})):
        with pytest.raises((TypeError, Refused)):
            services[name] = value  # type: ignore[assignment]


def test_changing(config: Config, registry: Registry) -> None:
    """What is changed within a record is written by Save, with the lock, or at the end of the call."""
    registry.write([Put("a", {"n": [1]})], "", "")
    for number, write in enumerate((config.Save, config.end), 2):
        config.data["services"]["a"]["n"].append(number)
        write()
        assert _data(registry, "a") == {"n": list(range(1, number + 1))}
    with config.rlock, config.rlock:
        config.data["services"]["a"]["m"] = 1
    assert _data(registry, "a")["m"] == 1
    config.data["p"]["limit"] = 4
    config.Save()
    config.begin()
    assert config.data["p"] == {"limit": 4}


def test_changed_by_two(config: Config, registry: Registry) -> None:
    """A record that somebody else has changed meanwhile is not overwritten, and the extension hears of it."""
    registry.write([Put("a", {"n": 1}), Put("b", {})], "", "")
    services = config.data["services"]
    services["b"]["x"], services["a"]["n"] = 1, 2
    registry.write([Put("a", {"n": 9})], "", "")
    with pytest.raises(Refused, match="somebody else"):
        config.Save()
    assert (_data(registry, "a"), _data(registry, "b")) == ({"n": 9}, {})


def test_a_call_begins_anew(config: Config, registry: Registry) -> None:
    """What was read in an earlier call is read again, and what a failed one has changed is not written."""
    registry.write([Put("a", {"n": 1})], "", "")
    config.data["services"]["a"]["n"] = 2
    config.begin()
    registry.write([Put("a", {"n": 3})], "", "")
    assert config.data["services"]["a"]["n"] == 3
    config.end()
    assert _data(registry, "a") == {"n": 3}


def test_what_is_not_to_be_written(config: Config) -> None:
    """The registry as a whole, and what the configuration says, stay."""
    for change in (
        lambda: config.data.__setitem__("services", {}),
        lambda: config.data.__delitem__("p"),
        lambda: config.data.__setitem__("agents", {}),
    ):
        with pytest.raises((TypeError, Refused)):
            change()


def test_the_lock(config: Config) -> None:
    """It is asked for once, however often it is taken; without it there is nothing to give back."""
    asking: Any = config.rlock._asking
    with config.rlock:
        assert config.rlock.acquire(blocking=False)
        config.rlock.release()
    assert asking.locked == ["lock", "unlock"]
    with pytest.raises(RuntimeError):
        config.rlock.release()
    config.rlock.acquire()
    config.begin()  # the broker takes it back
    with pytest.raises(RuntimeError):
        config.rlock.release()


def test_asking_through_pipes() -> None:
    """A question goes out in a frame; its answer, or that it is refused, comes in one; the end ends the process."""
    answers = io.BytesIO(frame({"answer": 5}) + frame({"refused": "no"}))
    questions = io.BytesIO()
    asking = Asking(answers, questions)
    assert asking.ask("get", name="a") == 5
    with pytest.raises(Refused, match="no"):
        asking.ask("get", name="a")
    with pytest.raises(SystemExit):
        asking.ask("get", name="a")
    questions.seek(0)
    assert read(questions) == {"ask": "get", "name": "a"}


# -- the examples -----------------------------------------------------------------------------------------------------


def _run(library: Path, package: str, method: str, data: str, address: str = "192.0.2.7") -> child.RequestHandler:
    rh = child.RequestHandler({**TOLD, "qs": {"data": data}, "address": address})
    child.find(package, method, library)(rh)
    return rh


def test_echo(library: Path) -> None:
    """The echo gives back the parameters."""
    (library / "echo.py").write_bytes((CONTRIB / "echo.py").read_bytes())
    assert json.loads(_run(library, "echo", "Test", "x").data) == {"data": "x"}


@pytest.mark.usefixtures("config")
def test_agents(library: Path, tmp_path: Path) -> None:
    """An agent gets a key of its own, the same one again, and nobody else gets it."""
    (library / "agents.py").write_bytes((CONTRIB / "agents.py").read_bytes())
    first = _run(library, "agents", "Add", "Host-1.example").data
    assert first.startswith("001 host-1.example 192.0.2.7 ")
    assert _run(library, "agents", "Add", "host-1.example").data == first
    assert _run(library, "agents", "Add", "host-1.example", "192.0.2.8").status == 409
    assert _run(library, "agents", "Add", "two").data.startswith("002 two ")
    assert (tmp_path / "keys").read_text().count("\n") == 2
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name", ["", "a b", "a\n1 root 0.0.0.0 x", "a\n", "-a", "a-", "a..b", "ä", "x" * 64, "a." * 127 + "a"]
)
@pytest.mark.usefixtures("config")
def test_agents_with_odd_names(library: Path, tmp_path: Path, name: str) -> None:
    """What is not the name of a host is refused, and nothing is written."""
    (library / "agents.py").write_bytes((CONTRIB / "agents.py").read_bytes())
    assert _run(library, "agents", "Add", name).status == 400
    assert not (tmp_path / "keys").exists()
