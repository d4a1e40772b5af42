"""The language of alert templates: a part of Jinja's in which nothing takes long, or makes much of little. Pure.

A repository is a stranger, so what a template can do is bounded by what it can say: conditions, loops over the lists that it is given (one in
another at most), a few filters. There are no calls, no arithmetic, no assignments and no macros; a template is short, and so are the lists.
"""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST = 4096
FILTERS = frozenset(
    {"capitalize", "default", "first", "join", "last", "length", "lower", "title", "trim", "truncate", "upper"}
)
TESTS = frozenset({"defined", "none"})
_MOST_LOOPS, _MOST_FILTERS = 2, 3
_KNOWN = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.If,
    nodes.For,
    nodes.Name,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Const,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.CondExpr,
    nodes.Filter,
    nodes.Test,
)


class Environment(ImmutableSandboxedEnvironment):
    """Jinja without anything that a template was not given."""

    def __init__(self) -> None:
        super().__init__(autoescape=False, trim_blocks=True, lstrip_blocks=True, cache_size=0)
        self.globals.clear()
        self.filters = {name: f for name, f in self.filters.items() if name in FILTERS}
        self.tests = {name: t for name, t in self.tests.items() if name in TESTS}


def template_fault(text: str) -> tuple[str, int]:
    """Why `text` is no template, and the line; an empty reason when it is one."""
    if len(text) > LONGEST:
        return f"it has {len(text)} characters, more than {LONGEST}", 1
    try:
        tree = Environment().parse(text)
        return next(_faults(tree, 0, 0), ("", 0))
    except TemplateSyntaxError as error:
        return error.message or "it cannot be read", error.lineno
    except RecursionError:
        return "it is nested too deeply", 1


def _faults(node: nodes.Node, loops: int, filters: int) -> Iterator[tuple[str, int]]:
    if not isinstance(node, _KNOWN):
        yield f"{_word(node)} cannot stand here", node.lineno
        return
    if isinstance(node, nodes.For):
        loops += 1
        yield from _loop(node, loops)
    elif isinstance(node, nodes.Filter):
        filters += 1
        if node.name not in FILTERS:
            yield f"there is no filter {node.name!r}; there are {', '.join(sorted(FILTERS))}", node.lineno
        elif filters > _MOST_FILTERS:
            yield f"more than {_MOST_FILTERS} filters on one value", node.lineno
        elif not all(isinstance(a, nodes.Const) for a in node.args) or node.kwargs or node.dyn_args or node.dyn_kwargs:
            yield f"the filter {node.name!r} takes plain values only", node.lineno
    elif isinstance(node, nodes.Test) and node.name not in TESTS:
        yield f"there is no test {node.name!r}; there are {', '.join(sorted(TESTS))}", node.lineno
    elif isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        yield f"there is no field {node.attr!r}", node.lineno
    for child in node.iter_child_nodes():
        yield from _faults(child, loops, filters)


def _loop(node: nodes.For, depth: int) -> Iterator[tuple[str, int]]:
    if depth > _MOST_LOOPS:
        yield f"loops stand in each other more than {_MOST_LOOPS} deep", node.lineno
    if node.recursive:
        yield "a loop cannot call itself", node.lineno
    if not isinstance(node.iter, nodes.Name | nodes.Getattr):
        yield "a loop goes over a list that the template is given, such as alerts", node.lineno


def _word(node: nodes.Node) -> str:
    return {"Assign": "set", "AssignBlock": "set", "Call": "a call", "Concat": "~"}.get(
        type(node).__name__, type(node).__name__.lower()
    )
