"""The variables of KastleX: each is read as KastleX reads it, and what has no effect is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brokerkit.cli.kastlex import config_of
from brokerkit.cli.kastlex_environment import KAFKA, PREFIX, PRODUCER, READ, read
from brokerkit.cli.kastlex_program import topic_of
from brokerkit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_empty_is_not_set() -> None:
    """A variable without a value is as one that is not there."""
    assert read({PREFIX + name: "" for name in (*KAFKA, *PRODUCER, *READ)}) == read({})


def test_others_are_not_looked_at() -> None:
    """Variables of other programs are none of its business."""
    assert read({"PATH": "/bin", "KAFKA_CLUSTER": "x", "kastlex_http_port": "1"}) == read({})


@pytest.mark.parametrize("name", ["HTTP_PORT", "HTTPS_PORT", "TOKEN_TTL_SECONDS"])
@pytest.mark.parametrize("value", ["x", "-1", "1.5", "99999999999999999", " 1"])
def test_odd_numbers(name: str, value: str) -> None:
    """One line names the variable, what was found and what was expected."""
    with pytest.raises(ConfigError, match=rf"environment: KASTLEX_{name}: found '{value}', expected a whole number"):
        read({PREFIX + name: value, "KASTLEX_USE_HTTPS": "1"})


def test_a_variable_that_never_was() -> None:
    """It is named, with the one that may have been meant."""
    (warning,) = read({"KASTLEX_HTP_PORT": "1"}).warnings
    assert "KASTLEX_HTP_PORT" in warning
    assert "KASTLEX_HTTP_PORT?" in warning


def test_hidden_groups() -> None:
    """The expression goes where groups are shown."""
    assert read({"KASTLEX_CG_EXCLUDE_REGEX": "^console"}).settings.exclude_groups == "^console"


def test_nothing_secret_is_repeated() -> None:
    """No value of a variable that may be one is in a warning."""
    given = {f"KASTLEX_{name}": "hunter2" for name in (*KAFKA, *PRODUCER, "SECRET_KEY_BASE", "OTHER")}
    assert "hunter2" not in " ".join(read(given).warnings)


def test_what_is_kept(tmp_path: Path) -> None:
    """--keep becomes a rule of the configuration; without it there is none."""
    told = read({})
    assert config_of(told, tmp_path, "127.0.0.1", ()).keep == ()
    (rule,) = config_of(told, tmp_path, "127.0.0.1", ("logs.>", "x")).keep
    assert rule.topics == ("logs.>", "x")
    with pytest.raises(ConfigError, match="--keep"):
        config_of(told, tmp_path, "127.0.0.1", ("a..b",))


def test_every_interface(tmp_path: Path) -> None:
    """An IPv6 address can stand in an endpoint."""
    assert config_of(read({}), tmp_path, "::1", ()).listen[0].endpoint == r"tcp:port=8092:interface=\:\:1"


def test_topics() -> None:
    """A name, and perhaps its partitions."""
    assert (topic_of("logs").name, topic_of("logs").partitions) == (b"logs", 1)
    assert topic_of("logs:12").partitions == 12
    for odd in ("", ":1", "a:", "a:0", "a:x", "a:99999"):
        with pytest.raises(ConfigError, match="--topic"):
            topic_of(odd)
