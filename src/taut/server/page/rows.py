"""A row of the fleet as HTML. There are 200 on a page, so it is put together here: a template takes ten times as long. Pure."""

from __future__ import annotations

from collections import OrderedDict

from markupsafe import Markup, escape

from taut.server.page.addresses import app_address, short_commit
from taut.server.page.facts import Facts
from taut.server.page.rope import MARKS, rope_of
from taut.server.page.sentences import row_sentence
from taut.server.page.times import Moment, moment

_KEPT = 10_000
_QUIET = frozenset({"s-ok", "s-suspended"})
_LONG = 60
"""Longer sentences may be cut by the column; then the whole is shown on hover."""


class Rows:
    """Rows, kept for as long as the status is the same and reads the same. They are the same for everybody who may see them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Facts, str, Markup]] = OrderedDict()

    def html(self, facts: Facts, now: float) -> Markup:
        """One row."""
        at = moment(facts.status.last_sync, now)
        known = self._kept.get(facts.status.key)
        if known is not None and known[0] is facts and known[1] == at.ago:
            self._kept.move_to_end(facts.status.key)
            return known[2]
        made = row(facts, at)
        self._kept[facts.status.key] = (facts, at.ago, made)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return made


def row(facts: Facts, at: Moment) -> Markup:
    """One application. Everything that comes from a document, a repository or a cluster is escaped."""
    status, mark, rope = facts.status, MARKS[facts.shown], rope_of(facts.status)
    say = row_sentence(facts)
    whole = f' title="{escape(say)}"' if len(say) > _LONG else ""
    spin = " spin" if mark.symbol == "s-run" else ""
    where = f'<span class="soft">{escape(facts.environment)}</span> ' if facts.environment != status.cluster else ""
    commit = short_commit(status.desired_revision or status.revision)
    revision = f'<code class="soft">{escape(commit)}</code> <span class="dim">{escape(status.commit_message)}</span>'
    age = f'<time datetime="{escape(at.iso)}" title="{at.exact}" data-ago>{at.ago}</time>' if at.iso else "never"
    return Markup(  # noqa: S704 (escaped piece by piece; marks and ropes are ours)
        f'<tr class="row {"quiet" if mark.symbol in _QUIET else "loud"}" id="r:{escape(status.key)}" data-state="{mark.word}">'
        f'<td class="name"><span class="app"><svg class="mark {mark.tone}{spin}" role="img" aria-label="{mark.word}"><use href="#{mark.symbol}"/></svg>'
        f'<a href="{escape(app_address(status.key))}"><span class="dim">{escape(status.project)} / </span>{escape(status.name)}</a></span></td>'
        f'<td class="where">{where}<span class="dim">{escape(status.cluster)}</span></td>'
        f'<td class="git"><span class="git-live"><svg class="rope {rope.tone}" aria-hidden="true"><use href="#{rope.symbol}"/></svg>'
        f'<span class="{rope.tone}">{rope.word}</span></span></td>'
        f'<td class="say"{whole}>{escape(say)}</td>'
        f'<td class="rev">{revision if commit else ""}</td>'
        f'<td class="age end dim">{age}</td></tr>'
    )
