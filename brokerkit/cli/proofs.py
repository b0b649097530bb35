"""In which protocols a user can log in, and by what: what ``user show`` and ``auth check`` say of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brokerkit.checkers.known import Known


def ways(known: Known) -> dict[str, list[str]]:
    """Give, for each protocol, what the user can log in by; an empty list where it cannot.

    The challenge of hpfeeds needs a secret that can be read back.
    """
    certificate = ["client certificate"] if known.certificates else []
    hpfeeds = ["secret"] if known.secret else []
    nats = ["user and password"] if known.secret or known.password_hash else []
    nats += ["token"] if known.token or known.token_hash else []
    nats += ["JWT"] if known.user.ticket is not None else ["nkey"] if known.public_keys else []
    return {"hpfeeds": hpfeeds + certificate, "nats": nats + certificate}
