"""The generator of load: what it counts, what it takes for a loss, what its reports say."""

from __future__ import annotations

import json
import re
import socket
import threading
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from bench.goals import verdicts
from brokerkit.bench import cast
from brokerkit.bench.contest import Measure, Row
from brokerkit.bench.contestants import PURE
from brokerkit.bench.flood import Load, _missing
from brokerkit.bench.loop import RATE, TAIL
from brokerkit.bench.report import Report, check, write
from brokerkit.bench.servers import Broker, Server
from brokerkit.bench.speak_hpfeeds import Hpfeeds
from brokerkit.bench.speak_nats import Nats
from brokerkit.bench.speech import BenchError
from brokerkit.bench.tables import Section
from brokerkit.bench.throughput import DELIVERIES, _pattern, _subjects, deliveries, shared, unheard, wild
from brokerkit.bench.workloads import WORKLOADS, Goal, workloads
from brokerkit.errors import OperatorError
from brokerkit.protocols.hpfeeds import wire as hpfeeds_wire
from brokerkit.protocols.nats import wire as nats_wire
from brokerkit.topics import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OURS, PEER = Broker("brokerkit", "nats", None, (), version="0.1"), Broker("nats-server", "nats", None, ())


def section(*rows: Row, brokers: tuple[Broker, ...] = (OURS, PEER)) -> Section:
    """Give the results of one scenario."""
    return Section("Throughput", "nats", list(rows), list(brokers))


def row(ours: float, theirs: float, case: str = "1 → 1, 128 B, one topic", measure: Measure = DELIVERIES) -> Row:
    """Give a line of results."""
    return Row(case, measure, {"brokerkit": [ours], "nats-server": [theirs]})


# -- frames -----------------------------------------------------------------------------------------------------------


def test_nats_frames_are_those_of_the_wire() -> None:
    """What is said is what a broker reads, beneath the prefix."""
    wire = nats_wire.Wire(nats_wire.Spellings(b"", 1000, 1000))
    speech = Nats(prefix="there")
    wire.feed(speech.publish(b"a.b", b"x") + speech.subscribe(b"a.*", 7) + speech.subscribe(b"a", 8, b"q"))
    run = wire.scan()
    assert run is not None
    assert [(message.topic, message.payload) for message in run] == [(b"there.a.b", b"x")]
    assert wire.next() == nats_wire.Sub(b"there.a.*", b"", b"7")
    assert wire.next() == nats_wire.Sub(b"there.a", b"q", b"8")
    assert speech.delivery(b"a.b", 7, b"x") == b"MSG there.a.b 7 1\r\nx\r\n"


def test_hpfeeds_frames_are_those_of_the_wire() -> None:
    """Likewise."""
    wire = hpfeeds_wire.Wire()
    speech = Hpfeeds("me", prefix="there")
    wire.feed(speech.publish(b"a", b"x") + speech.subscribe(b"a", 7))
    assert wire.next() == hpfeeds_wire.Publish(b"me", b"there.a", b"x")
    assert wire.next() == hpfeeds_wire.Subscribe(b"me", b"there.a")


@pytest.mark.parametrize(
    ("name", "secret", "said"),
    [("ann", "pw", {"user": "ann", "pass": "pw"}), ("", "t0ken", {"auth_token": "t0ken"}), ("l0001", "", {})],
)
def test_nats_logins(name: str, secret: str, said: dict[str, str]) -> None:
    """A user, a token, or nobody: names of the generator's own are for brokers that ask for them."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"INFO {}\r\nPONG\r\n")
        Nats(name, secret).login(ours)
        heard = theirs.recv(1000)
    options = json.loads(heard.removeprefix(b"CONNECT ").removesuffix(b"\r\nPING\r\n"))
    assert {key: options[key] for key in ("user", "pass", "auth_token") if key in options} == said


def test_each_wild_subject_has_one_pattern() -> None:
    """What is counted is what one subscription gets."""
    found = [_pattern(number) for number in range(50)]
    subjects = _subjects(50)
    assert len({len(subject) for subject in subjects}) == 1
    assert len(set(subjects)) > len(subjects) * 0.99
    for subject in subjects[:200]:
        assert sum(matches(pattern, subject) for pattern in found) == 1


# -- counting ---------------------------------------------------------------------------------------------------------


def test_what_is_missing() -> None:
    """Bytes that are not there are messages; a PING among them is none; anything else is nonsense."""
    load = Load(Nats(), cast.TOPICS[:1], 10)
    assert _missing(0, load, 6, 4) == 0
    assert _missing(12, load, 6, 4) == 0
    assert _missing(-load.delivery, load, 6, 4) == 1
    assert _missing(-load.delivery * 3, load, 6, 4) == 3
    for nonsense in (5, 30):
        with pytest.raises(BenchError, match="bytes too many"):
            _missing(nonsense, load, 6, 4)


class Echoing:
    """A NATS server of few words, that loses each ``loses``-th message: what a generator is to notice."""

    def __init__(self, loses: int = 0) -> None:
        """Listen."""
        self._loses = loses
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.server = Server(PEER, self._listening.getsockname()[1])
        self._lock = threading.Lock()
        self._subscribed: dict[bytes, list[tuple[socket.socket, bytes, bytes]]] = {}
        self._messages = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"INFO {}\r\n")
            try:
                for line in lines:
                    with self._lock:
                        self._obey(connection, line.split(), lines.read)
            except OSError:
                return

    def _obey(self, connection: socket.socket, words: list[bytes], read: Callable[[int], bytes]) -> None:
        if words[0] == b"PING":
            connection.sendall(b"PONG\r\n")
        elif words[0] == b"SUB":
            self._subscribed.setdefault(words[1], []).append((connection, words[-1], b"".join(words[2:-1])))
        elif words[0] == b"PUB":
            payload = read(int(words[-1]) + 2)
            if words[1] != cast.READY:
                self._messages += 1
                if self._loses and self._messages % self._loses == 0:
                    return
            self._deliver(words[1], payload)

    def _deliver(self, subject: bytes, payload: bytes) -> None:
        wanting = self._subscribed.get(subject, [])
        members = [one for one in wanting if one[2]]
        chosen = [one for one in wanting if not one[2]] + members[self._messages % max(len(members), 1) :][:1]
        for other, sid, _ in chosen:
            try:
                other.sendall(b"MSG %b %b %d\r\n%b" % (subject, sid, len(payload) - 2, payload))
            except OSError:
                continue

    def stop(self) -> None:
        """Stop listening."""
        self._listening.close()


@pytest.fixture
def peer(request: pytest.FixtureRequest) -> Iterator[Echoing]:
    """Give a server, which loses what a test says."""
    server = Echoing(getattr(request, "param", 0))
    yield server
    server.stop()


def test_it_counts(peer: Echoing) -> None:
    """To one, to two, to nobody, to the members of a queue group: as many as were sent."""
    assert deliveries(peer.server, 0.05, 1, 64, 2)[DELIVERIES] > 0
    assert deliveries(peer.server, 0.05, 2, 64, 1)[DELIVERIES] > 0
    assert next(iter(unheard(peer.server, 0.05, 64).values())) > 0
    assert shared(peer.server, 0.05, 2, 2, 64)[DELIVERIES] > 0


@pytest.mark.parametrize("peer", [50], indirect=True)
def test_a_lost_message_is_noticed(peer: Echoing) -> None:
    """A broker that loses messages has no figure, however fast it is."""
    with pytest.raises(BenchError, match="lost"):
        deliveries(peer.server, 0.05, 1, 64, 1)


def test_a_broker_that_does_not_match_is_noticed(peer: Echoing) -> None:
    """One that knows no wildcards gets no figure for them."""
    with pytest.raises(BenchError, match="lost"):
        wild(peer.server, 0.02, 20, 64)


# -- goals ------------------------------------------------------------------------------------------------------------


def test_goals_are_met_or_missed() -> None:
    """A ratio that is high enough, one that is not, and one where less is better."""
    text = verdicts([section(row(3.0, 1.0), row(1.2, 1.0, "1 connection", RATE), row(1.5, 1.0, "1 connection", TAIL))])
    assert "| nats, 1 → 1, 128 B, one topic: deliveries | ≥ 2 × | 3.00 × | met |" in text
    assert "| nats, 1 connection: round trips | ≥ 1 × | 1.20 × | met |" in text
    assert "| nats, 1 connection: p99 | ≤ 1 × | 1.50 × | missed |" in text
    assert text.rstrip().endswith("3 of 4 met.")  # pure Python has one for 1 → 1, too


def test_the_goal_of_the_pure_code_is_its_own() -> None:
    """Where both variants were measured, each has its own goal."""
    both = row(3.0, 1.0)
    both.values[PURE] = [0.3]
    text = verdicts([section(both, brokers=(OURS, Broker(PURE, "nats", None, ()), PEER))])
    assert f"| nats, {PURE}: 1 → 1, 128 B, one topic: deliveries | ≥ 0.35 × | 0.30 × | missed |" in text


def test_without_a_peer_nothing_is_met() -> None:
    """A goal that was not measured is said to be none."""
    alone = Row("1 → 1, 128 B, one topic", DELIVERIES, {"brokerkit": [1.0]}, {"nats-server": "not installed"})
    assert "not measured: not installed" in verdicts([section(alone)])
    assert verdicts([section(Row("something", DELIVERIES))]) == ""


def test_every_goal_can_be_measured() -> None:
    """Names are told apart, and each goal is about something that its workload measures."""
    assert len({(work.protocol, work.name, work.kind) for work in WORKLOADS}) == len(WORKLOADS)
    goals = [(work, goal) for work in WORKLOADS for goal in work.goals]
    assert len(goals) >= 19
    assert all(goal.measure in work.measures for work, goal in goals)
    assert Goal(TAIL, 1.0, at_most=True).met(0.9)
    assert {work.kind for work in workloads("nats", gentle=True)} == {"throughput", "loop"}
    assert not any("wildcard" in work.name for work in workloads("nats", gentle=True))


# -- reports ----------------------------------------------------------------------------------------------------------


def report(*rows: Row) -> Report:
    """Give a report of one scenario."""
    return Report([section(*rows)], "brokerkit bench", 0.5, "a <machine>")


def test_the_chart_is_a_picture() -> None:
    """It is well-formed, its longest bar is the largest value, and what it says is escaped."""
    root = ET.fromstring(report(row(300.0, 100.0)).svg())  # noqa: S314  our own
    widths = {rect.get("fill"): float(rect.get("width", 0)) for rect in root.iter("{http://www.w3.org/2000/svg}rect")}
    assert widths["#2563eb"] == pytest.approx(3 * widths["#8a8f98"], rel=0.01)
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "300" in texts
    assert any("a <machine>" in (text or "") for text in texts)


def test_a_long_title_is_not_cut_off() -> None:
    """Names of processors are long, and so may be a command line."""
    done = Report([section(row(2.0, 1.0))], "brokerkit bench", 0.5, "a machine " * 40)
    root = ET.fromstring(done.svg())  # noqa: S314  our own
    texts = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert " ".join(texts).count("machine") == 40
    assert max(map(len, texts)) <= 120


def test_what_could_not_be_measured_is_said() -> None:
    """A broker that is not there has its reason in every kind of report."""
    missing = Row("1 → 1", DELIVERIES, {"brokerkit": [5.0]}, {"nats-server": "not installed"})
    done = report(missing)
    for text in (done.svg(), done.html(), done.markdown(), done.json()):
        assert "not installed" in text


def test_the_page_has_chart_and_table() -> None:
    """One file with everything in it: no address of anything else."""
    page = report(row(300.0, 100.0)).html()
    assert "<svg" in page
    assert "<td>3.00</td>" in page
    assert re.findall(r'(?:src|href)="', page) == []
    assert "a <machine>" not in page


def test_json_has_every_value() -> None:
    """Programs get all rounds."""
    said = json.loads(report(row(300.0, 100.0)).json())
    assert said["sections"][0]["rows"][0]["values"] == {"brokerkit": [300.0], "nats-server": [100.0]}


def test_files_of_reports(tmp_path: Path) -> None:
    """The name says what is written; a name that says nothing, or a place that is none, is refused beforehand."""
    for kind in ("md", "json", "svg", "html"):
        path = tmp_path / f"report.{kind}"
        check(path)
        write(report(row(2.0, 1.0)), path)
        assert path.stat().st_size > 100
    with pytest.raises(OperatorError, match=r"expected a name that ends in \.md, \.json, \.svg, \.html"):
        check(tmp_path / "report.pdf")
    with pytest.raises(OperatorError, match="there is no directory"):
        check(tmp_path / "nowhere" / "report.md")
