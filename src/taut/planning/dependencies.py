"""`dependsOn`: which application waits for which; a cycle is an error that names it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from taut.model.errors import BadInput, Where
from taut.model.refs import AppKey

type Graph = Mapping[AppKey, Collection[AppKey]]
"""Application → the applications it depends on."""


def resolve(text: str, own: AppKey, known: Collection[AppKey]) -> AppKey:
    """The application that an entry of `dependsOn` names.

    `name` is looked for in the application's own namespace, then among those without one; `namespace/name` in the same
    root; `root/namespace/name` anywhere, and `root//name` without a namespace. Whether it exists is for the caller to
    say: the key of one that does not is returned as well. Raises BadInput for another form.
    """
    parts = text.split("/")
    if not parts[-1] or not parts[0] or len(parts) > 3:
        raise BadInput(
            f"{text!r} names no application",
            where=Where(object=f"Application {own}", field="spec.dependsOn"),
            advice="write name, namespace/name, or root/namespace/name (root//name when it has no namespace)",
        )
    if len(parts) == 3:
        return AppKey(*parts)
    if len(parts) == 2:
        return AppKey(own.root, *parts)
    near = AppKey(own.root, own.namespace, text)
    far = AppKey(own.root, "", text)
    return far if near not in known and far in known else near


def find_cycles(graph: Graph) -> tuple[tuple[AppKey, ...], ...]:
    """Every cycle that a walk in name order meets, each as the applications in order, first one first by name."""
    state: dict[AppKey, bool] = {}
    cycles: dict[tuple[AppKey, ...], None] = {}
    for start in sorted(graph):
        if start not in state:
            for cycle in _walk(graph, start, state):
                cycles[cycle] = None
    return tuple(cycles)


def _walk(graph: Graph, start: AppKey, done: dict[AppKey, bool]) -> Iterable[tuple[AppKey, ...]]:
    """Depth first without recursion: chains may be as long as there are applications."""
    trail: list[AppKey] = [start]
    done[start] = False
    stack = [iter(sorted(graph.get(start, ())))]
    while stack:
        following = next(stack[-1], None)
        if following is None:
            stack.pop()
            done[trail.pop()] = True
        elif following not in done:
            done[following] = False
            trail.append(following)
            stack.append(iter(sorted(graph.get(following, ()))))
        elif not done[following]:
            yield _from_smallest(trail[trail.index(following) :])


def _from_smallest(cycle: list[AppKey]) -> tuple[AppKey, ...]:
    at = cycle.index(min(cycle))
    return tuple(cycle[at:] + cycle[:at])


def cycle_error(cycle: tuple[AppKey, ...]) -> BadInput:
    """The error that names a cycle: `a → b → a`."""
    path = " → ".join(str(key) for key in (*cycle, cycle[0]))
    return BadInput(
        f"these applications wait for each other: {path}",
        where=Where(object=f"Application {cycle[0]}", field="spec.dependsOn"),
        advice="take one of these dependencies away",
    )


def in_order(graph: Graph) -> tuple[AppKey, ...]:
    """All applications of the graph, each after those it depends on; for a deletion read it backwards.

    Applications in a cycle come last, in name order.
    """
    nodes = sorted(set(graph) | {d for ds in graph.values() for d in ds})
    left = {node: {d for d in graph.get(node, ()) if d != node} for node in nodes}
    dependants: dict[AppKey, list[AppKey]] = {}
    for node in nodes:
        for needed in left[node]:
            dependants.setdefault(needed, []).append(node)
    ready = [node for node in nodes if not left[node]]
    order: list[AppKey] = []
    while ready:
        node = ready.pop(0)
        order.append(node)
        for dependant in dependants.get(node, ()):
            left[dependant].discard(node)
            if not left[dependant]:
                ready.append(dependant)
    placed = set(order)
    return (*order, *(node for node in nodes if node not in placed))
