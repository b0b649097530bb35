"""The board for Grafana: it is one, and it asks for nothing that the broker does not export."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.web.test.requesthelper import DummyRequest

from brokerkit import metrics
from brokerkit.tally import Tally
from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

BOARD = Path(__file__).parent.parent / "contrib" / "grafana" / "hpfeeds.json"
WORDS = {"by", "sum", "min", "rate", "increase", "histogram_quantile", "label_values"}
VARIABLES = {"__rate_interval", "job", "instance", "ident", "chan"}


@pytest.fixture(scope="module")
def board() -> Any:
    """Give the board."""
    return json.loads(BOARD.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Give the names of all samples of a broker in which this and that has happened, with the names of their labels."""
    memory = MemoryBroker(settings={"hpfeeds": {"outbox_limit": 100_000}})
    memory.broker.tally = Tally()
    ann, bob = memory.client("hpfeeds", "ann"), memory.client("hpfeeds", "bob")
    ann.subscribe(b"a")
    ann.peer.stop_reading()
    for _ in range(4):
        bob.publish(b"a", b"x" * 100_000)
    memory.connect("hpfeeds").send(b"\x00\x00\x00\x06\x04\x00")
    root = metrics.pages(memory.broker)
    request = DummyRequest([b"metrics"])
    text = root.getChildWithDefault(b"metrics", request).render(request).decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    for other in metrics.Numbers(memory.broker).collect():  # what there is nothing to say of here, such as certificates
        if not other.samples and other.type == "gauge":
            found[other.name] = {"job", "instance", *other._labelnames}  # type: ignore[attr-defined]
    return found


def panels(board: Any) -> list[Any]:
    """Give the panels that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions(board: Any) -> Iterator[str]:
    """Give all that is asked of Prometheus."""
    for panel in panels(board):
        yield from (target["expr"] for target in panel["targets"])
    yield from (variable["query"]["query"] for variable in board["templating"]["list"])


def test_it_is_a_board(board: Any) -> None:
    """It has what an import needs: a title, a data source to choose, panels that do not lie upon each other."""
    assert board["title"]
    assert board["id"] is None
    assert board["schemaVersion"] >= 30
    (source,) = board["__inputs"]
    assert source["pluginId"] == "prometheus"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        mine = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not mine & cells, panel["title"]
        cells |= mine
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == f"${{{source['name']}}}"
        assert panel["targets"]


def test_every_metric_exists(board: Any, exported: dict[str, set[str]]) -> None:
    """Each name in an expression is that of a sample, and each label one of that sample's."""
    for text in expressions(board):
        bare = re.sub(r'"[^"]*"', '""', text)
        names = set(re.findall(r"\b(?:hpfeeds|brokerkit|process)_\w+", bare))
        assert len(names) == 1, text
        (name,) = names
        assert name in exported, text
        labels = set(re.findall(r"(\w+)=~?\"", bare)) | set(
            re.findall(r", (\w+)\)$", bare) if "label_values" in bare else ()
        )
        labels |= {label for group in re.findall(r"by \(([^)]*)\)", bare) for label in re.split(r",\s*", group)}
        assert labels <= exported[name], text


def test_expressions_are_whole(board: Any) -> None:
    """Brackets close, words are functions that are known, and variables are those of the board or Grafana's own."""
    for text in expressions(board):
        assert all(text.count(a) == text.count(b) for a, b in ("()", "{}", "[]")), text
        assert set(re.findall(r"(\w+) ?\(", text)) <= WORDS, text
        assert set(re.findall(r"\$(\w+)", text)) <= VARIABLES, text
    assert {variable["name"] for variable in board["templating"]["list"]} == VARIABLES - {"__rate_interval"}


def test_counters_are_rates(board: Any) -> None:
    """What only grows is shown as what it grows by."""
    for panel in panels(board):
        for target in panel["targets"]:
            if re.search(r"_(?:total|bucket)\b", target["expr"]):
                assert re.search(r"\b(?:rate|increase)\(", target["expr"]), target["expr"]


def test_legends(board: Any) -> None:
    """A legend names a label that its expression keeps."""
    for panel in panels(board):
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                kept = re.findall(r"by \(([^)]*)\)", target["expr"])
                assert label in kept or not kept, target["expr"]
