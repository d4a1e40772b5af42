"""What is wrong in a document: a finding at a path inside it, and the same with its file and line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from taut.model.errors import BadInput, Where
from taut.model.status import Problem

type Path = tuple[str | int, ...]

_NOWHERE = Where()


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault at a path (keys and indexes, as the document writes them) of a value."""

    path: Path
    what: str
    advice: str = ""

    def under(self, *path: str | int) -> Finding:
        """The same finding, seen from a parent."""
        return Finding((*path, *self.path), self.what, self.advice)


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    """One fault of one document or file: what, where (file, line, object, field), and what to do about it."""

    what: str
    where: Where = _NOWHERE
    advice: str = ""

    @classmethod
    def of(cls, error: BadInput) -> DocumentProblem:
        """The problem that an error tells of."""
        return cls(error.what, error.where, error.advice)

    def as_problem(self) -> Problem:
        """The form that an application's or root's status shows."""
        return Problem(what=self.what, where=str(self.where), advice=self.advice, stage="source")

    def as_error(self) -> BadInput:
        """The form that is raised."""
        return BadInput(self.what, where=self.where, advice=self.advice)

    def __str__(self) -> str:
        return str(self.as_error())


def field_name(path: Path) -> str:
    """A path as people write it: `spec.sources[1].helmOptions`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like `word`, empty when none is."""
    choices = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    return choices[close[0]] if close else ""


def one_of(word: str, known: Iterable[str]) -> str:
    """Advice for a word that is not among the known ones: the nearest, or all of them."""
    names = list(known)
    close = nearest(word, names)
    if close:
        return f"did you mean {close}?"
    return f"use {'one of ' if len(names) > 1 else ''}{', '.join(names)}" if names else ""
