"""The docstrings of a struct's fields: the text that stands below each of them in the source."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap


@functools.cache
def field_docs(kind: type) -> dict[str, str]:
    """Field name (as in Python) → the docstring below it, in one line. Fields without one are left out; those of bases are included."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        if base.__module__.startswith("taut."):
            found |= _own(base)
    return found


def class_doc(kind: type) -> str:
    """The class's own docstring, in one paragraph."""
    return " ".join((kind.__doc__ or "").split())


def _own(kind: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found: dict[str, str] = {}
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            value = text.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[field.target.id] = " ".join(value.value.split())
    return found
