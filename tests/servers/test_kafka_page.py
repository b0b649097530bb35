"""The page at ``/`` in a real browser: what it shows, that it follows, and that no message becomes a part of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.exchange import heard
from tests.servers.chromium import Browser
from tests.servers.kafka_process import Kept

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = "[...document.querySelectorAll('main tbody tr[tabindex]')]"
VALUES = "[...document.querySelectorAll('main td.value')].map((cell) => cell.innerText)"
EVIL = [
    "<script>window.evil = 1</script>",
    "<img src=x onerror='window.evil = 2'>",
    "</td></tr></table><svg onload=window.evil=3>",
    "javascript:window.evil=4",
    "{{constructor.constructor('window.evil=5')()}}",
    "\u202egnp.exe\u0000\u0007\u001b[31m",
    '"}]}<style>*{display:none}</style>',
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Give a broker that anybody may use."""
    running = Kept(tmp_path_factory.mktemp("page"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Give a browser; what it asks and complains of is looked at in the end."""
    with Browser() as running:
        yield running
        if "login" not in request.node.name:
            assert running.complaints() == []


def test_topics_and_messages(broker: Kept, browser: Browser) -> None:
    """Topics are listed, a row opens one, and its messages are shown with key, value and sender."""
    broker.produce("logs.seen", {"key": "k", "value": {"a": 1, "b": [1.10, {}]}}, {"value": None})
    browser.go(broker.url)
    browser.wait(f"{ROWS}.find((row) => row.cells[0].innerText === 'logs.seen' && row.cells[2].innerText === '2')")
    browser.value(f"{ROWS}.find((row) => row.innerText.includes('logs.seen')).click()")
    assert browser.wait(f"{VALUES}.length === 2 && {VALUES}") == ['{"a":1,"b":[1.1,{}]}', "null"]
    browser.value("document.querySelector('td.value').click()")
    shown = browser.wait("document.querySelector('pre.whole')?.innerText")
    assert json.loads(shown) == {"a": 1, "b": [1.1, {}]}
    assert shown.count("\n") == 6
    assert browser.hosts() == {broker.host}


def test_what_hpfeeds_says_is_seen(broker: Kept, browser: Browser, tmp_path: Path) -> None:
    """A message published by the hpfeeds client is in the page, its bytes in hexadecimal."""
    broker.produce("logs.hp", {"value": 1})
    del tmp_path
    heard(("127.0.0.1", broker.ports["hpfeeds"]), "anonymous", "", "logs.hp")
    browser.go(f"{broker.url}#/topics/logs.hp")
    assert browser.wait(f"{VALUES}.length === 2 && {VALUES}")[1] == "00 68 65 6c 6c 6f ff"


def test_seeking(broker: Kept, browser: Browser) -> None:
    """One can begin at an offset, at a time, at the first message, and go on and back by keys."""
    broker.produce("logs.many", *({"value": i, "timestamp": 1_000_000_000_000 + i * 1000} for i in range(120)))
    browser.go(f"{broker.url}#/topics/logs.many?from=offset&value=7")
    assert browser.wait(f"{VALUES}.length === 50 && {VALUES}")[0] == "7"
    browser.press("n")
    browser.wait(f"{VALUES}[0] === '57'")
    browser.press("p")
    browser.wait(f"{VALUES}[0] === '7'")
    for place, value, first in (("at", "2001-09-09T01:47:00Z", "20"), ("first", "", "0"), ("last", "", "70")):
        browser.go("about:blank")
        browser.go(f"{broker.url}#/topics/logs.many?from={place}&value={value}")
        assert browser.wait(f"{VALUES}.length && {VALUES}")[0] == first, place


def test_following(broker: Kept, browser: Browser) -> None:
    """With f, what comes is shown as it comes, the newest first, until f is pressed again."""
    broker.produce("logs.live", {"value": "before"})
    browser.go(f"{broker.url}#/topics/logs.live")
    browser.wait(f"{VALUES}.length === 1")
    browser.press("f")
    browser.wait("document.querySelector('form [role=status]').innerText.startsWith('following')")
    for i in range(20):
        broker.produce("logs.live", {"value": f"live {i}"})
    shown = browser.wait(f"{VALUES}.length === 20 && {VALUES}")
    assert shown[0] == '"live 19"'
    browser.press("f")
    browser.wait("document.querySelector('[data-key=f]').getAttribute('aria-pressed') === 'false'")
    broker.produce("logs.live", {"value": "later"})
    browser.press("n")
    browser.wait(f"{VALUES}.at(-1) === '\"later\"'")


def test_no_message_becomes_a_part_of_the_page(broker: Kept, browser: Browser) -> None:
    """HTML, scripts, marks that turn the direction, in values, keys, headers and names of topics, are texts."""
    records = [{"key": one, "value": one, "headers": [{"key": one, "value": "PGI+"}]} for one in EVIL]
    broker.produce("logs.evil", *records)
    broker.produce("logs.%3Cimg%20src%3Dx%20onerror%3Dwindow.evil%3D6%3E", {"value": 1})
    browser.go(f"{broker.url}#/topics/logs.evil")
    browser.wait(f"{VALUES}.length === {len(EVIL)}")
    browser.value(f"{ROWS}.forEach((row) => row.click())")
    text = browser.text()
    assert "<script>window.evil = 1</script>" in text
    assert "\\u202egnp.exe" in text
    browser.go(f"{broker.url}#/topics")
    browser.wait(f"{ROWS}.find((row) => row.innerText.includes('<img src=x onerror'))")
    assert browser.value("window.evil ?? null") is None
    assert browser.value("document.querySelectorAll('main script, main style, main img, main svg').length") == 0
    assert browser.hosts() == {broker.host}


def test_the_policy_holds(broker: Kept, browser: Browser) -> None:
    """Even a script that is somehow in the page may neither make HTML of a string nor run one."""
    browser.go(broker.url)
    browser.wait("document.querySelector('main h1')")
    make = "document.querySelector('main').innerHTML = '<img>'; return 'made';"
    tried = browser.value(f"(() => {{ try {{ {make} }} catch (error) {{ return error.name; }} }})()")
    assert tried == "TypeError"
    browser.told.clear()


def test_groups_and_lag(broker: Kept, browser: Browser) -> None:
    """A group is listed with its lag, and described with who reads what."""
    broker.produce("logs.group", *({"value": i} for i in range(5)))
    base = "/consumers/group%20one"
    broker.json("POST", base, {"name": "reader", "format": "json", "auto.offset.reset": "earliest"})
    consumer = f"{base}/instances/reader"
    broker.json("POST", f"{consumer}/subscription", {"topics": ["logs.group"]})
    broker.json("GET", f"{consumer}/records?timeout=0")
    broker.json("POST", f"{consumer}/offsets", {"offsets": [{"topic": "logs.group", "partition": 0, "offset": 1}]})
    browser.go(f"{broker.url}#/groups")
    browser.wait(f"{ROWS}.find((row) => row.innerText.includes('group one') && row.cells[3].innerText === '3')")
    browser.press("j")
    browser.press("Enter")
    browser.wait("document.querySelector('main h1').innerText === 'group one'")
    text = browser.wait("document.querySelectorAll('main table').length === 2 && document.body.innerText")
    assert "logs.group" in text
    assert "reader" in text


def test_many_topics(tmp_path: Path, browser: Browser) -> None:
    """Ten thousand topics come in pages, are found by how they begin, and the page stays quick."""
    running = Kept(tmp_path)
    running.start()
    try:
        for begin in range(0, 9900, 1100):
            records = [{"topic": f"logs.many.{i:05}", "value": "x"} for i in range(begin, begin + 1100)]
            running.json("POST", "/v1/records", {"records": records}, Content_Type="application/json")
        browser.go(running.url)
        assert browser.wait(f"{ROWS}.length === 100 && {ROWS}[0].cells[0].innerText") == "logs.many.00000"
        browser.press("n")
        browser.wait(f"{ROWS}[0].cells[0].innerText === 'logs.many.00100'")
        browser.press("p")
        browser.wait(f"{ROWS}[0].cells[0].innerText === 'logs.many.00000'")
        browser.press("/")
        browser.call("Input.insertText", text="logs.many.0989")
        browser.wait(f"{ROWS}.length === 10 && {ROWS}[9].cells[0].innerText === 'logs.many.09899'")
    finally:
        running.stop()


def test_login(tmp_path: Path, browser: Browser) -> None:
    """Where nobody may look without a login, the page asks for one, says why it failed, and shows what one may see."""
    users = {"ann": {"secret": "ann's secret", "publish": [">"], "subscribe": [">"]}}
    users["ann"] |= {"owner": "tests", "pubchans": [], "subchans": []}
    (tmp_path / "users.json").write_text(json.dumps(users))
    running = Kept(tmp_path, 'auth = ["json:users.json"]\n')
    running.start()
    try:
        running.produce("logs.secret", {"value": "hidden"}, user="ann:ann's secret")
        browser.go(f"{running.url}#/topics/logs.secret")
        browser.type("[name=name]", "ann")
        browser.type("[name=secret]", "wrong")
        browser.press("Enter")
        browser.wait("document.querySelector('[role=alert]').innerText.startsWith('Not logged in')")
        browser.type("[name=secret]", "ann's secret")
        browser.press("Enter")
        assert browser.wait(f"{VALUES}.length && {VALUES}") == ['"hidden"']
        assert browser.value("document.getElementById('user').innerText") == "ann"
        assert "secret" not in json.dumps(browser.value("({...sessionStorage})"))
        browser.click("#account")
        browser.wait("document.querySelector('form.login')")
        assert browser.value("sessionStorage.length") == 0
    finally:
        running.stop()


def test_light_and_dark(broker: Kept, browser: Browser) -> None:
    """The button goes from the system's theme to light and to dark, and the choice stays."""
    browser.go(broker.url)
    browser.wait("document.querySelector('main h1')")
    colour = "getComputedStyle(document.body).backgroundColor"
    browser.click("#theme")
    light = browser.value(colour)
    browser.click("#theme")
    dark = browser.value(colour)
    assert light == "rgb(255, 255, 255)"
    assert dark == "rgb(22, 24, 28)"
    browser.go("about:blank")
    browser.go(broker.url)
    browser.wait("document.querySelector('main h1')")
    assert browser.value(colour) == dark


def test_the_keys_are_told(broker: Kept, browser: Browser) -> None:
    """A question mark shows what the keys do."""
    browser.go(broker.url)
    browser.wait("document.querySelector('main h1')")
    browser.press("?")
    assert "next page" in browser.wait("document.querySelector('dialog[open]')?.innerText")
