"""The files of the page: how they are served, and that nothing in them comes from elsewhere."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from tests.protocols.kafka_rest.confluent_world import World

PAGE = files("brokerkit.protocols.kafka_rest.page").joinpath("files")
TEXTS = {file.name: file.read_text() for file in PAGE.iterdir()}


@pytest.fixture(scope="module")
def world() -> World:
    """Give a broker."""
    return World()


def test_the_page_is_at_the_root(world: World) -> None:
    """Anybody gets it, with a policy that runs no script but its own files."""
    reply = world.ask("GET", "/", user="")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().partition(" ")[::2] for part in reply.headers["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert (policy["require-trusted-types-for"], policy["frame-ancestors"]) == ("'script'", "'none'")
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_a_client_that_looks_whether_somebody_is_there(world: World) -> None:
    """It gets an empty object at the root, as from the peers."""
    assert world.ask("GET", "/", Accept="application/vnd.kafka.v2+json, application/json").json == {}


def test_its_files(world: World) -> None:
    """Each has its kind and a tag, and is not sent again to who has it; there is nothing but them."""
    for name, text in TEXTS.items():
        reply = world.ask("GET", f"/page/{name}", user="")
        assert (reply.status, reply.body.decode()) == (200, text)
        again = world.ask("GET", f"/page/{name}", user="", If_None_Match=reply.headers["etag"])
        assert (again.status, again.body) == (304, b"")
    for name in ("nothing.js", "__init__.py", "..", "..%2F__init__.py", "%2e%2e%2f__init__.py"):
        assert world.ask("GET", f"/page/{name}", user="").status == 404


def test_what_it_is_made_of_is_there() -> None:
    """Each file that another one names is one of the page's."""
    named = set(re.findall(r"/page/([\w.]+)", TEXTS["index.html"]))
    for name, text in TEXTS.items():
        if name.endswith(".js"):
            named |= set(re.findall(r'from "\./([\w.]+)"', text))
    assert named <= TEXTS.keys()
    assert named | {"index.html"} == TEXTS.keys()


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_comes_from_elsewhere(name: str) -> None:
    """No address of another host stands in a file, no script in the page itself, and no string is made HTML."""
    text = TEXTS[name].replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?://|//[a-z]+\.[a-z]", text.replace("// ", ""))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
    assert not re.search(r"<script(?![^>]* src=)|\son\w+\s*=\s*[\"']|<style|style=", text)
