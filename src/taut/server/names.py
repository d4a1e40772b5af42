"""Names as people type them, to applications: exact, or unambiguous, or an error that helps."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from taut.model.errors import BadInput
from taut.model.refs import AppKey

_SHOWN = 8


class UnknownName(BadInput):
    """No application has that name."""


class AmbiguousName(BadInput):
    """Several applications have that name."""


def resolve(text: str, keys: Collection[AppKey]) -> AppKey:
    """The application that `text` means: `root/namespace/name`, `root/name`, `namespace/name` or `name`.

    An exact key wins over everything else. Raises UnknownName with the nearest names, AmbiguousName with the candidates.
    """
    parts = tuple(text.strip("/").split("/"))
    exact = [key for key in keys if str(key) == text]
    found = exact or [key for key in keys if parts in _forms(key)]
    if len(found) == 1:
        return found[0]
    if found:
        shown = sorted(str(key) for key in found)
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        raise AmbiguousName(
            f"{len(found)} applications are called {text!r}", advice=f"say which: {', '.join(shown[:_SHOWN])}{more}"
        )
    raise UnknownName(f"There is no application {text!r}", advice=_nearest(text, keys))


def _forms(key: AppKey) -> tuple[tuple[str, ...], ...]:
    return ((key.name,), (key.namespace, key.name), (key.root, key.name), tuple(key))


def _nearest(text: str, keys: Collection[AppKey]) -> str:
    if not keys:
        return "taut knows none yet; `taut status` says why"
    by_text = {form: str(key) for key in keys for form in (key.name, str(key))}
    near = get_close_matches(text, by_text, n=3, cutoff=0.6)
    names = list(dict.fromkeys(by_text[n] for n in near))
    return f"did you mean {' or '.join(names)}?" if names else "`taut status` lists all applications"
