"""Who somebody is: the answer to ``$SYS.REQ.USER.INFO``, in every account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.grants import PUBLISH, SUBSCRIBE, Access
from brokerkit.protocols.nats.monitor.spelling import account, nanoseconds, text
from brokerkit.topics import REST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.client import Client
    from brokerkit.grants import Grants, Rule


def person(client: Client, now: float) -> dict[str, Any]:
    """Give name, account, rights where they are limited, and how long they last where that is known."""
    user = client.user
    name = account(user.tenant)
    fields: dict[str, Any] = {"user": text(user.name), "account": name, "account_name": name}
    permissions = _permissions(client.grants)
    if permissions:
        fields["permissions"] = permissions
    if user.valid_until:
        fields["expires"] = nanoseconds(max(user.valid_until - now, 0.0))
    return fields


def _permissions(grants: Grants) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for action in (PUBLISH, SUBSCRIBE):
        lists = _lists(grants.actions.get(action, Access()))
        if lists:
            found[action] = lists
    if grants.responses is not None:
        responses = grants.responses
        found["responses"] = {"max": responses.most or -1, "ttl": nanoseconds(responses.seconds) or -1}
    return found


def _lists(access: Access) -> dict[str, list[str]]:
    """Give the lists of one action; nothing where everything is allowed."""
    allow, deny = _subjects(access.allow), _subjects(access.deny)
    if not allow:
        return {"deny": [text(REST)]}
    lists = {"deny": deny} if text(REST) in allow else {"allow": allow, "deny": deny}
    return {key: subjects for key, subjects in lists.items() if subjects}


def _subjects(rules: Iterable[Rule]) -> list[str]:
    return [text(rule.name) + (f" {text(rule.queue)}" if rule.queue else "") for rule in rules]
