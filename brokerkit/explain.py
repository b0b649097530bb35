"""Why somebody may do something, or may not: the sources are asked as for a login, and then the user's rules.

Asking takes time and can fail; the explanation itself is a plain function of the answers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import TimeoutError as TooSlow
from twisted.internet.defer import maybeDeferred

from brokerkit.checkers.source import Source
from brokerkit.crossings import crossings, led_to
from brokerkit.errors import BrokerError, WrongSecret
from brokerkit.grants import PUBLISH, SUBSCRIBE
from brokerkit.notation import shown
from brokerkit.remedies import Wish, newcomer, remedies, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from brokerkit.checkers.known import Known
    from brokerkit.grants import Rule
    from brokerkit.notation import Name
    from brokerkit.reserved import Reserved
    from brokerkit.tenant import Tenant

ALLOW, DENY, UNKNOWN = "ALLOW", "DENY", "UNKNOWN"
PATIENCE = 5.0  # seconds that a source may take for one answer


@attrs.frozen
class Answer:
    """What one source says of a name: who it is; or that it cannot be asked; or that its record makes no sense."""

    source: Any
    known: Known | None = None
    down: str = ""
    unusable: str = ""

    @property
    def called(self) -> str:
        """What the source is called."""
        return called(self.source)

    @property
    def decides(self) -> bool:
        """Whether no later source is asked."""
        return bool(self.known or self.down or self.unusable)


@attrs.frozen
class Decision:
    """An answer to "may this user do that?", with all that led to it.

    ``verdict`` is ``UNKNOWN`` where the source that would decide cannot be asked.  ``where`` is the place of the rule,
    or of the user where no rule decided.  ``remedies`` are commands, or steps, that would allow what is denied.
    """

    verdict: str
    user: bytes
    action: str
    name: Name
    text: str
    source: str = ""
    where: str = ""
    rule: Rule | None = None
    remedies: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether it is allowed."""
        return self.verdict == ALLOW


def called(source: Any) -> str:  # noqa: ANN401  any checker
    """Give what a source is called."""
    return str(getattr(source, "source", "") or type(source).__name__)


def words(error: Exception) -> str:
    """Give what went wrong in one line: our own errors as they are, others with their kind."""
    text = " ".join(str(error).split())
    return text if text and isinstance(error, BrokerError) else f"{type(error).__name__}: {text}".removesuffix(": ")


# -- asking -------------------------------------------------------------------------------------------------------


async def ask(sources: Iterable[Any], name: bytes, clock: IReactorTime, patience: float = PATIENCE) -> list[Answer]:
    """Ask every source for a name, also those that a login would not reach; ``patience`` is seconds for each."""
    return [await _ask(source, name, clock, patience) for source in sources]


async def _ask(source: Any, name: bytes, clock: IReactorTime, patience: float) -> Answer:  # noqa: ANN401
    if not isinstance(source, Source):
        return Answer(source)
    try:
        known = await maybeDeferred(_look_up, source, name).addTimeout(patience, clock)
    except WrongSecret as error:
        return Answer(source, unusable=str(error))
    except TooSlow:
        return Answer(source, down=f"no answer within {patience} s")
    except Exception as error:
        return Answer(source, down=words(error))
    return Answer(source, known)


async def _look_up(source: Source, name: bytes) -> Known | None:
    """Ask as a login with a password does; where that finds nobody, ask for whoever logs in otherwise."""
    credentials = UsernamePassword(name, b"")
    if any(kind.providedBy(credentials) for kind in source.credentialInterfaces):
        finding: Deferred[Known | None] = maybeDeferred(source.find, credentials)  # type: ignore[call-overload]
        known = await finding
        if known is not None:
            return known
    asking: Deferred[Mapping[bytes, Known]] = maybeDeferred(source.users, [name])  # type: ignore[call-overload]
    return (await asking).get(name)


# -- explaining ---------------------------------------------------------------------------------------------------


def explain(
    answers: Sequence[Answer],
    user: bytes,
    action: str,
    name: Name,
    now: float,
    tenants: Sequence[Tenant] = (),
    reserved: Reserved | None = None,
) -> Decision:
    """Say whether the user may do that, and why; ``answers`` are in the order of the sources, ``now`` is in seconds.

    ``tenants`` are those of the configuration: their mappings and imports have a say in it.  ``reserved`` is what the
    broker keeps of the topics for itself.
    """
    for place, answer in enumerate(answers):
        if answer.decides:
            decision = _decide(answer, user, action, name, now, tenants, reserved)
            notes = [*_before(answers[:place]), *decision.notes, *_behind(answers[place + 1 :])]
            return attrs.evolve(decision, notes=tuple(notes))
    text = f"no source of users knows {shown(user)!r}" if not _is_jwt(user) else "no source of users knows that JWT"
    first = _writable(answers) if not _is_jwt(user) else ()
    steps = tuple(newcomer(user, action, name, answer.called) for answer in first)
    notes = [*_before(answers), *filter(None, (warning(name, answer.called, action) for answer in first))]
    return Decision(DENY, user, action, name, text, remedies=steps, notes=tuple(notes))


def _is_jwt(user: bytes) -> bool:
    """Say whether that is no name but a token, which may be a secret."""
    return user.startswith(b"eyJ") and user.count(b".") > 1


def _writable(answers: Sequence[Answer]) -> Sequence[Answer]:
    """Give the source that a user is best added to: the one with commands for it, if it is there."""
    own = [answer for answer in answers if answer.called.partition(":")[0] == "users"]
    return (own or answers)[:1]


def _before(answers: Sequence[Answer]) -> list[str]:
    return [_not_the_one(answer) for answer in answers]


def _not_the_one(answer: Answer) -> str:
    if not isinstance(answer.source, Source):
        return f"{answer.called} is asked first, but does not say whom it knows without a secret"
    return f"{answer.called} does not know the user"


def _behind(answers: Sequence[Answer]) -> list[str]:
    notes = []
    for answer in answers:
        if answer.known is not None:
            notes.append(f"{answer.called} has a user of this name too, who is shadowed")
        elif answer.down:
            notes.append(f"{answer.called}, a later source, cannot be asked: {answer.down}")
    return notes


def _decide(
    answer: Answer,
    user: bytes,
    action: str,
    name: Name,
    now: float,
    tenants: Sequence[Tenant],
    reserved: Reserved | None,
) -> Decision:
    decision = Decision(DENY, answer.known.user.name if answer.known else user, action, name, "", answer.called)
    if answer.down:
        text = f"{answer.called} cannot be asked, and no later source is asked then: {answer.down}"
        return attrs.evolve(decision, verdict=UNKNOWN, text=text)
    if answer.known is None:
        return attrs.evolve(decision, text=f"the user cannot log in: {answer.unusable}")
    until = answer.known.user.valid_until
    if 0 < until <= now:
        moment = datetime.fromtimestamp(until, UTC).isoformat()
        where = answer.source.where(user, action, None)
        return attrs.evolve(decision, where=where, text=f"the user was valid until {moment}")
    if reserved is not None and not answer.known.user.tenant and reserved.concerns(action, name.topic):
        return _own(decision, answer.source, answer.known, reserved)
    return _rule(decision, answer.source, answer.known, tenants)


def _own(decision: Decision, source: Source, known: Known, reserved: Reserved) -> Decision:
    """Decide about a topic that is the broker's own: by the rights to what it is about."""
    action, name, grants = decision.action, decision.name, known.user.grants
    allowed, rule, of = reserved.guard(grants).ruling(action, name.topic, literal=name.literal)
    text, steps = "only the broker does that there", tuple[str, ...]()
    if rule is not None:
        text = f"{of}: {_reason(allowed, rule, name, ())}"
    elif reserved.may_be_granted(action, name.topic):
        about = attrs.evolve(name, topic=reserved.thing(name.topic))
        access = grants.access(reserved.action)
        steps = remedies(Wish(decision.user, reserved.action, about, decision.source, access=access))
        text = f"no rule for {reserved.action} allows it, nor one for {action} that names this place"
    return attrs.evolve(
        decision,
        verdict=ALLOW if allowed else DENY,
        rule=rule,
        where=source.where(decision.user, of, rule),
        text=text,
        remedies=steps,
        notes=("the topic is one of the broker's own, which no rule that begins with a wildcard reaches",),
    )


def _rule(decision: Decision, source: Source, known: Known, tenants: Sequence[Tenant]) -> Decision:
    """Go through the user's rules."""
    action, tenant = decision.action, known.user.tenant
    name = led_to(tenants, tenant, action, decision.name)
    access = known.user.grants.access(action)
    allowed, rule = access.ruling(name.topic, literal=name.literal)
    notes = [f"the topics are those of the tenant {tenant!r}"] if tenant else []
    notes += crossings(tenants, tenant, action, decision.name)
    wish = Wish(decision.user, action, name, decision.source, getattr(source, "prefix", b""), access)
    if allowed and not name.literal:
        word = "left out" if action == SUBSCRIBE else "denied"
        notes += [f"what {_shown(one)} matches is {word}" for one in access.left_out(name.topic)]
    elif not allowed and rule is not None:
        without = attrs.evolve(access, deny=()).ruling(name.topic, literal=name.literal)[1]
        notes += [f"{_shown(without)} would allow it, but a denial wins"] if without else []
    elif not allowed:
        if known.user.grants.responses is not None and action == PUBLISH:
            notes.append("it may publish answers to requests that it receives, wherever these want them")
        notes += filter(None, [warning(name, decision.source, action)])
    return attrs.evolve(
        decision,
        verdict=ALLOW if allowed else DENY,
        rule=rule,
        where=source.where(decision.user, action, rule),
        text=_reason(allowed, rule, name, access.allow),
        remedies=() if allowed else remedies(wish),
        notes=tuple(notes),
    )


def _reason(allowed: bool, rule: Rule | None, name: Name, rules: tuple[Rule, ...]) -> str:
    if rule is not None:
        return f"{_shown(rule)} {'allows' if allowed else 'denies'} it"
    if not rules:
        return "no rule allows it: there is none for this action"
    if not name.literal:
        return "no rule allows it: one pattern would have to cover all that this one matches"
    return "no rule allows it"


def _shown(rule: Rule) -> str:
    kind = "literal name" if rule.literal else "beginning" if rule.begins else "pattern"
    queue = f" for the queue {shown(rule.queue)!r}" if rule.queue else ""
    return f"the {kind} {shown(rule.name)!r}{queue}"
