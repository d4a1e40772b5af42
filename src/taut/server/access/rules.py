"""Rights in Argo CD's `policy.csv` form: `p, subject, resource, action, object, allow|deny` and `g, subject, role`. Pure.

As there (argo-cd, docs/operator-manual/rbac): objects and actions are globs in which `*` takes slashes too; what one rule denies no other allows;
a role may have roles. `role:readonly` and `role:admin` are built in.
"""

from __future__ import annotations

import csv
import difflib
import fnmatch
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from taut.model.errors import BadInput, Where
from taut.server.access.principal import Action, Principal, Resource, Target

READONLY, ADMIN = "role:readonly", "role:admin"
_RESOURCES = frozenset(r.value for r in Resource)
_FOREIGN = frozenset({"applicationsets", "certificates", "gpgkeys", "exec", "extensions", "write-repositories"})
"""What Argo CD has and taut has not: such rules are read and mean nothing."""
_WORDS: Mapping[Action, tuple[str, ...]] = {
    Action.SUSPEND: ("suspend", "update"),
    Action.RESTART: ("restart", "action/apps/Deployment/restart"),
    Action.ROLLBACK: ("rollback", "sync"),
    Action.APPROVE: ("approve",),
}
"""By which words a rule may mean an action: Argo CD's own come after taut's. A rule with either of them counts, for and against."""
_FIELDS = 6


@dataclass(frozen=True, slots=True)
class Rule:
    """One line: who may, or must not, do what to which objects."""

    subject: str
    resource: str
    action: str
    object: str
    allow: bool


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules. `default` is the role of everybody who signed in; `anonymous` that of those who did not (empty: none)."""

    rules: tuple[Rule, ...] = ()
    roles: tuple[tuple[str, str], ...] = ()
    """Who has which role."""
    default: str = ""
    anonymous: str = ""
    warnings: tuple[str, ...] = ()

    def allows(self, who: Principal, action: Action, target: Target) -> bool:
        """Whether somebody may do this."""
        return self.why(who, action, target)[0]

    def why(self, who: Principal, action: Action, target: Target) -> tuple[bool, Rule | None]:
        """Whether somebody may do this, and the rule that says so; no rule is a no."""
        allowed: Rule | None = None
        for rule in _of(self, self.subjects(who)):
            if _about(rule, action, target):
                if not rule.allow:
                    return False, rule
                allowed = allowed or rule
        return allowed is not None, allowed

    def subjects(self, who: Principal) -> frozenset[str]:
        """What rules may call somebody: their own names, and all roles that follow."""
        everybody = {self.default} if who.how else {self.anonymous}
        return _closed(self, frozenset({*who.subjects, *everybody} - {""}))


BUILT_IN = (
    Rule(READONLY, "*", "get", "*", allow=True),
    Rule(ADMIN, "*", "*", "*", allow=True),
)


def read_rules(text: str, *, default: str = "", anonymous: str = "", file: str = "") -> RuleBook:
    """Rules from the text of a policy.csv; empty lines and lines that begin with # say nothing.

    Raises BadInput with the line for one that cannot be read: a right that is misread is worse than a start that fails.
    """
    rules: list[Rule] = []
    roles: list[tuple[str, str]] = []
    warnings: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = Where(file=file, line=number)
        match [part.strip() for part in next(csv.reader([line], skipinitialspace=True))]:
            case ["p", subject, resource, action, name, *rest] if len(rest) <= 1 and all(
                (subject, resource, action, name)
            ):
                rules.append(_rule(subject, resource, action, name, rest[0] if rest else "allow", where))
                if resource in _FOREIGN:
                    warnings.append(f"{where}: taut has no {resource}; the rule means nothing")
            case ["g", subject, role] if subject and role:
                roles.append((subject, role))
            case _:
                raise BadInput(
                    f"this is no rule: {line.strip()[:80]}",
                    where=where,
                    advice="write `p, SUBJECT, RESOURCE, ACTION, OBJECT, allow|deny` or `g, SUBJECT, ROLE`",
                )
    return RuleBook((*BUILT_IN, *rules), tuple(roles), default, anonymous, tuple(warnings))


def _rule(subject: str, resource: str, action: str, name: str, effect: str, where: Where) -> Rule:
    if effect not in ("allow", "deny"):
        raise BadInput(f"the effect {effect!r} is neither allow nor deny", where=where)
    if not _glob(resource) and resource not in _RESOURCES | _FOREIGN:
        near = difflib.get_close_matches(resource, sorted(_RESOURCES), 1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(_RESOURCES))}"
        raise BadInput(f"there is no resource {resource!r}", where=where, advice=advice)
    return Rule(subject, resource, action, name, effect == "allow")


def _glob(text: str) -> bool:
    return any(c in text for c in "*?[")


def _about(rule: Rule, action: Action, target: Target) -> bool:
    words = _WORDS.get(action, (action.value,))
    return (
        _matcher(rule.resource)(target.resource.value) is not None
        and any(_matcher(rule.action)(word) is not None for word in words)
        and any(_matcher(rule.object)(name) is not None for name in target.names)
    )


@functools.lru_cache(maxsize=4096)
def _matcher(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(fnmatch.translate(pattern)).match


@functools.lru_cache(maxsize=1024)
def _of(book: RuleBook, subjects: frozenset[str]) -> tuple[Rule, ...]:
    return tuple(rule for rule in book.rules if rule.subject in subjects)


@functools.lru_cache(maxsize=1024)
def _closed(book: RuleBook, subjects: frozenset[str]) -> frozenset[str]:
    found = set(subjects)
    wanted = list(subjects)
    while wanted:
        new = set(_roles_of(book.roles, wanted)) - found
        found |= new
        wanted = list(new)
    return frozenset(found)


def _roles_of(roles: Iterable[tuple[str, str]], subjects: Iterable[str]) -> Iterator[str]:
    given = frozenset(subjects)
    yield from (role for subject, role in roles if subject in given)
