"""Topics by command: what the broker does when it is asked, and what people see."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from twisted.internet.defer import Deferred

from brokerkit import control
from brokerkit.cli import main
from brokerkit.config import Config
from brokerkit.control import Control, NoBroker, Refused
from brokerkit.errors import OperatorError
from brokerkit.keep import Keep
from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def memory() -> MemoryBroker:
    """Give a broker that keeps some topics."""
    return MemoryBroker(keep=[{"topics": "a.*", "stream": "s", "partitions": 2}])


def _ask(broker: Control, **request: Any) -> dict[str, Any]:
    """Ask as the control socket does; raise ``Refused``."""
    answers: list[Any] = []
    Deferred.fromCoroutine(broker.answer(json.dumps({"do": "topic", **request}).encode())).addBoth(answers.append)
    answer: dict[str, Any] = json.loads(json.dumps(answers[0]))
    if "error" in answer:
        raise Refused(answer["error"])
    return answer


@pytest.fixture
def run(memory: MemoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give what runs ``brokerkit topic`` with that broker: exit code, stdout and stderr."""
    asked = Control(memory.broker, tmp_path)
    monkeypatch.setattr(control, "tell", lambda _, request, __: _ask(asked, **request))

    def run(*arguments: str, says: str = "") -> tuple[int, str, str]:
        done = CliRunner().invoke(main, ["topic", *arguments, "--data-dir", str(tmp_path)], input=says)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    return run


def test_from_the_beginning_to_the_end(run: Run, memory: MemoryBroker) -> None:
    """A topic is made, listed, described, changed and deleted."""
    assert run("create", "t", "--partitions", "3", "--compact", "--retention-seconds", "5") == (
        0,
        "",
        "t: made, with 3 partitions\n",
    )
    topic = memory.broker.log.topic(b"t")
    assert (topic.partitions, topic.settings.compact, topic.settings.retention_seconds) == (3, True, 5.0)
    memory.client("nats").publish(b"t", b"12345")
    memory.advance(1)
    code, out, _ = run("list")
    assert code == 0
    assert out.split()[:7] == ["NAME", "STREAM", "PARTITIONS", "RECORDS", "BYTES", "ACK", "COMPACT"]
    row = out.splitlines()[1].split()
    assert (row[0], row[1], row[2], row[4], row[5]) == ("t", "3", "1", "commit", "true")
    _, out, _ = run("describe", "t")
    said = [" ".join(line.split()) for line in out.splitlines()]
    assert {"name t", "retention_seconds 5.0", "retention_bytes no bound", "kept by its name"} <= set(said)
    assert sum("empty, next is 0" in line for line in said) == 2
    assert run("alter", "t", "--no-compact", "--partitions", "4")[0] == 0
    topic = memory.broker.log.topic(b"t")
    assert (topic.partitions, topic.settings.compact, topic.settings.retention_seconds) == (4, False, 5.0)
    assert run("delete", "t", "--yes") == (0, "", "t: deleted\n")
    assert memory.broker.log.topics() == {}


def test_deleting_is_asked_about(run: Run, memory: MemoryBroker) -> None:
    """Without a yes nothing is deleted."""
    run("create", "t")
    code, _, error = run("delete", "t", says="n\n")
    assert code == 1
    assert "Delete t and all that is kept of it?" in error
    assert run("delete", "t", says="y\n")[0] == 0
    assert memory.broker.log.topics() == {}


def test_as_json(run: Run) -> None:
    """With --json each answer is an object on a line."""
    run("create", "t")
    run("create", "u")
    _, out, error = run("list", "--json")
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["t", "u"]
    assert error == ""
    _, out, _ = run("describe", "t", "--json")
    assert json.loads(out)["spans"] == [[0, 0]]
    _, out, error = run("delete", "t", "--yes", "--json")
    assert (json.loads(out), error) == ({"name": "t"}, "")


def test_a_topic_of_a_rule(run: Run, memory: MemoryBroker) -> None:
    """One that a rule names is made as the rule says, and whoever changes it is told that the rule counts again."""
    run("create", "a.1")
    topic = memory.broker.log.topic(b"a.1")
    assert (topic.partitions, topic.stream) == (2, "s")
    assert "a.*" in run("describe", "a.1")[1]
    assert "[[keep]]" in run("alter", "a.1", "--ack", "none")[2]
    assert memory.broker.log.topic(b"a.1").settings.ack == "none"


def test_a_tenant(run: Run, memory: MemoryBroker) -> None:
    """The topics of a tenant are its own."""
    run("create", "t", "--tenant", "blue")
    assert memory.broker.log.topics() == {}
    assert len(run("list", "--tenant", "blue")[1].splitlines()) == 2
    assert len(run("list")[1].splitlines()) == 1


def test_many(run: Run, memory: MemoryBroker) -> None:
    """A list that is longer than one answer may be is given whole."""
    memory.broker.keeping.take([Keep(topics=("many.*",), stream="many")])
    ann = memory.client("nats")
    for i in range(250):
        ann.publish(b"many.%03d" % i, b"")
    memory.advance(1)
    rows = [json.loads(line)["name"] for line in run("list", "--json")[1].splitlines()]
    assert rows == [f"many.{i:03}" for i in range(250)]


def test_odd_names(run: Run, memory: MemoryBroker) -> None:
    """Names that are no UTF-8 can be given and are shown without moving the cursor."""
    memory.broker.keeping.take([Keep(topics=(">",), stream="all")])
    bob = memory.client("hpfeeds", "bob")
    for name in (b"\xff.x", b"a\x1b[2J"):
        bob.publish(name, b"")
    memory.advance(1)
    _, out, _ = run("list")
    assert "\x1b" not in out
    assert "\\xff.x" in out
    assert run("delete", b"\xff.x".decode(errors="surrogateescape"), "--yes")[0] == 0
    assert list(memory.broker.log.topics()) == [b"a\x1b[2J"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["describe", "t"], 1, "there is no topic 't'"),
        (["alter", "t", "--compact"], 1, "there is no topic 't'"),
        (["delete", "t", "--yes"], 1, "there is no topic 't'"),
        (["create", ""], 1, "name: expected the name of a topic, of 1 to 4096 bytes"),
        (["create", "there"], 1, "there is a topic 'there' already: brokerkit topic alter changes it"),
        (["alter", "there", "--partitions", "1"], 1, "partitions: found 1, expected a whole number from 2 to 1024"),
        (["alter", "there"], 2, "say what to change"),
        (["create", "t", "--ack", "maybe"], 2, "'maybe' is not one of"),
        (["create", "t", "--partitions", "0"], 2, "0 is not in the range"),
    ],
)
def test_what_cannot_be_done(run: Run, arguments: list[str], code: int, said: str) -> None:
    """One line says what is wrong, and nothing has changed."""
    run("create", "there", "--partitions", "2")
    found, _, error = run(*arguments)
    assert (found, said in error) == (code, True), error


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"what": "dance"}, "what: found 'dance', expected one of list"),
        ({"what": ["list"]}, "what: found"),
        ({"what": "list", "tenant": 5}, "tenant: expected a string"),
        ({"what": "create", "name": 5}, "name: expected a string"),
        ({"what": "create", "name": "\ud800"}, "name: expected the name of a topic"),
        ({"what": "create", "name": "t", "partitions": True}, "partitions: found True"),
        ({"what": "create", "name": "t", "settings": []}, "settings: expected an object"),
        ({"what": "create", "name": "t", "settings": {"colour": 1}}, "colour: found an unknown setting"),
        ({"what": "create", "name": "t", "settings": {"compact": 1}}, "compact: found 1, expected true or false"),
        ({"what": "create", "name": "t", "settings": {"ack": []}}, "ack: found [], expected one of commit"),
        ({"what": "create", "name": "t", "settings": {"retention_bytes": -1}}, "retention_bytes: found -1"),
        ({"what": "create", "name": "t", "settings": {"retention_seconds": "1"}}, "retention_seconds: found '1'"),
        ({"what": "create", "name": "t", "settings": {"max_message_bytes": 0}}, "max_message_bytes: found 0"),
    ],
)
def test_odd_requests(memory: MemoryBroker, tmp_path: Path, request_: dict[str, Any], said: str) -> None:
    """Whatever comes by the socket is answered in words, and makes nothing."""
    with pytest.raises(Refused) as caught:
        _ask(Control(memory.broker, tmp_path), **request_)
    assert said in str(caught.value)
    assert memory.broker.log.topics() == {}


def test_no_broker(tmp_path: Path) -> None:
    """Without a broker the exit code is 3, and the line says what to do."""
    done = CliRunner().invoke(main, ["topic", "list", "--data-dir", str(tmp_path)])
    assert done.exit_code == 3
    assert done.stderr.startswith(f"brokerkit: no broker runs on {tmp_path}: start one with")
    assert NoBroker  # what it is


def test_no_log(tmp_path: Path) -> None:
    """A broker that keeps nothing has no topics, and makes its log with the first one."""
    memory = MemoryBroker()
    asked = Control(memory.broker, tmp_path)
    assert _ask(asked, what="list") == {"topics": [], "next": None}
    with pytest.raises(Refused, match="there is no topic"):
        _ask(asked, what="describe", name="t")
    assert not memory.broker.has_log
    _ask(asked, what="create", name="t")
    memory.client("nats").publish(b"t", b"1")
    memory.advance(1)
    assert memory.broker.log.span(b"t", 0) == (0, 1)


def test_reload(run: Run, memory: MemoryBroker) -> None:
    """New rules are taken on demand; where they are wrong the command says so, and the former ones stay."""
    broker = memory.broker
    broker.reread = lambda: broker.keeping.take([Keep(topics=("b.*",), stream="b")])
    assert run("reload") == (0, "", "1 rule taken\n")
    assert broker.keeping.rules.find("", b"b.1") is not None

    def wrong() -> None:
        raise OperatorError("broker.toml: keep[0].ack: found 'x'")

    broker.reread = wrong
    code, _, error = run("reload")
    assert (code, "keep[0].ack" in error) == (1, True)
    broker.look_again()  # what a signal does: the same, but for the log
    assert broker.keeping.rules.find("", b"b.1") is not None
    assert Config().keep == ()
