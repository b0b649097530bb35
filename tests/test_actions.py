"""The words for what a user may do."""

from __future__ import annotations

import pytest
from twisted.plugin import getPlugins

from brokerkit.actions import actions, check_action
from brokerkit.checkers.kastlex_actions import ACTIONS
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.interfaces import ICheckerPlugin


class Plugin:
    """A plugin with an action."""

    name = "stars"

    def __init__(self, text: str) -> None:
        """Say what it means."""
        self.actions = {"shine": text}


def test_of_all_plugins() -> None:
    """There are everybody's two, and those that plugins bring; a plugin need not bring any."""
    assert list(actions([object()])) == ["publish", "subscribe"]
    assert actions([Plugin("Shine."), Plugin("Shine.")])["shine"] == "Shine."
    assert ACTIONS.items() <= actions(getPlugins(ICheckerPlugin)).items()


def test_two_meanings() -> None:
    """One word with two meanings is an error, not a race."""
    with pytest.raises(OperatorError, match="the action 'shine' of the plugin 'stars' is another one's already"):
        actions([Plugin("Shine."), Plugin("Polish.")])


def test_check() -> None:
    """A word that nobody knows is refused with the nearest one."""
    check_action("publish", actions([]), "broker.toml", "allow")
    with pytest.raises(ConfigError, match=r"^broker.toml: allow: found 'Publsh', .*did you mean publish\?"):
        check_action("Publsh", actions([]), "broker.toml", "allow")
