"""In which protocols a user can log in, and by what: what ``user show`` and ``auth check`` say of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brokerkit.checkers.known import Known


def ways(known: Known) -> dict[str, list[str]]:
    """Give, for each protocol, what the user can log in by; an empty list where it cannot.

    The challenge of hpfeeds needs a secret that can be read back.  Kept topics are asked for by HTTP, which carries a
    name and a password, also for a token of ``POST /login``, or a token; a certificate says nothing there.
    """
    certificate = ["client certificate"] if known.certificates else []
    hpfeeds = ["secret"] if known.secret else []
    http = ["user and password"] if known.secret or known.password_hash else []
    http += ["token"] if known.token or known.token_hash else []
    nats = list(http)
    nats += ["JWT"] if known.user.ticket is not None else ["nkey"] if known.public_keys else []
    return {"hpfeeds": hpfeeds + certificate, "nats": nats + certificate, "kafka": http}
