"""Some forty applications that change all the time: a seeded generator of commits, and what a cluster must hold after each of them.

Nothing here is asked of taut: what is expected is worked out from what was committed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from integration.loop.harness import annotate, application, config_map, deployment, job, yaml
from servers.git import Content, GitRepo

type Key = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass
class Thing:
    """One object that an application declares. Its name is never used again, so an object that is made anew is noticed."""

    kind: str
    name: str
    value: int
    wave: int = 0

    @property
    def content(self) -> str:
        """What tells its versions apart in the cluster."""
        return f"example/web:{self.value}" if self.kind == "Deployment" else str(self.value)

    def body(self, group: str) -> dict[str, Any]:
        """As it stands in Git."""
        if self.kind == "Deployment":
            body = deployment(self.name, image=self.content)
        elif self.kind == "Widget":
            body = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": self.name}}
            body["spec"] = {"value": self.content}
        elif self.kind == "Secret":
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.name}}
            body["stringData"] = {"value": self.content}
        else:
            body = config_map(self.name, {"value": self.content})
        return annotate(body, wave=str(self.wave)) if self.wave else body


@dataclass
class App:
    """One application. `hook` is the phase of its hook; each version of the application has a hook of its own name."""

    name: str
    namespace: str
    things: dict[str, Thing] = field(default_factory=dict[str, Thing])
    hook: str = ""
    cleared: bool = False
    """The hook's object goes when it has succeeded."""
    version: int = 1
    due: bool = True
    """This version cannot be reached without a write, so its hook has to run. (Hooks run with a write and only then.)"""
    needs: str = ""

    @property
    def hook_name(self) -> str:
        """Of this version."""
        return f"{self.name}-v{self.version}"

    def files(self, group: str) -> dict[str, Content]:
        """What its folder holds."""
        found: dict[str, Content] = {
            f"apps/{self.name}/{t.kind.lower()}-{t.name}.yaml": yaml(t.body(group)) for t in self.things.values()
        }
        if self.hook:
            words = {"hook": self.hook} | ({"hook_delete_policy": "HookSucceeded"} if self.cleared else {})
            found[f"apps/{self.name}/hook.yaml"] = yaml(annotate(job(self.hook_name), **words))
        return found

    def document(self, repo: GitRepo) -> str:
        """Its declaration."""
        more: dict[str, Any] = {"dependsOn": [self.needs]} if self.needs else {}
        more["guards"] = {
            "maxDeleteCount": 1000
        }  # what piles up while taut is down may be much; guards have tests of their own
        body = application(self.name, target={"cluster": "local", "namespace": self.namespace}, **more)
        body["spec"]["source"] |= {"git": repo.url, "ref": "main"}
        return yaml(body)


KINDS = ("ConfigMap", "ConfigMap", "Secret", "Deployment", "Widget")


class World:
    """The repository as it is meant to be. Every method that changes something commits at once; `head` is the last commit."""

    def __init__(self, seed: int, repo: GitRepo, namespace: str, applications: int) -> None:
        self.random = random.Random(seed)
        self.repo = repo
        self.namespace = namespace
        self.other = f"{namespace}-b"
        self.group = f"{namespace}.example.com"
        self.apps: dict[str, App] = {}
        self.touched: set[str] = set()
        """Names of objects that somebody deleted by hand: they are made anew."""
        self._number = 0
        self._fights: dict[str, int] = {}
        for _ in range(applications):
            self._declare()
        files: dict[str, Content] = {"taut/ground.yaml": self._ground().document(repo), **self._ground_files()}
        for app in self.apps.values():
            files |= {f"taut/{app.name}.yaml": app.document(repo), **app.files(self.group)}
        self.head = repo.commit(files, "everything")

    # What is expected

    def expected(self) -> dict[Key, tuple[str, str]]:
        """Every object that has to be there: the application that it belongs to, and its content."""
        found: dict[Key, tuple[str, str]] = {
            ("Namespace", "", self.other): ("ground", ""),
            ("CustomResourceDefinition", "", f"widgets.{self.group}"): ("ground", ""),
        }
        for app in self.apps.values():
            for thing in app.things.values():
                found[(thing.kind, app.namespace, thing.name)] = (app.name, thing.content)
        return found

    def hooks_there(self) -> tuple[set[Key], set[Key]]:
        """The objects of hooks that must be there, and those that may be."""
        kept = [a for a in self.apps.values() if a.hook and not a.cleared]
        keys = {("Job", a.namespace, a.hook_name): a.due for a in kept}
        return {k for k, due in keys.items() if due}, set(keys)

    def hooks_due(self) -> set[str]:
        """Names of the hooks that must have run once by now; others of earlier versions may have."""
        return {app.hook_name for app in self.apps.values() if app.hook and app.due}

    # What changes

    def change(self) -> str:
        """Commit something, of one to three applications; the answer says what."""
        done = [self._one_change() for _ in range(self.random.choice((1, 1, 2, 3)))]
        files: dict[str, Content] = {}
        for _, more in done:
            files |= more
        held = {e.path for e in self._index()}
        files = {p: c for p, c in files.items() if c is not None or p in held}
        what = ", ".join(w for w, _ in done)
        self.head = self.repo.commit(files, what)
        return what

    def _index(self) -> Iterator[Any]:
        import pygit2

        index = pygit2.Index()
        index.read_tree(self.repo.git.revparse_single("main").peel(pygit2.Tree))
        return iter(index)

    def _one_change(self) -> tuple[str, dict[str, Content]]:
        choices = (
            [self._change_value] * 5 + [self._add] * 2 + [self._remove] * 2 + [self._move] * 3 + [self._come, self._go]
        )
        return self.random.choice(choices)()

    def _pick(self) -> App:
        return self.apps[self.random.choice(sorted(self.apps))]

    def _change_value(self) -> tuple[str, dict[str, Content]]:
        app = self._pick()
        thing = app.things[self.random.choice(sorted(app.things))]
        thing.value += 1
        return f"{app.name}: {thing.name} = {thing.value}", self._new_version(app, due=True)

    def _add(self) -> tuple[str, dict[str, Content]]:
        app = self._pick()
        thing = self._thing()
        app.things[thing.name] = thing
        return f"{app.name}: + {thing.name}", self._new_version(app, due=True)

    def _remove(self) -> tuple[str, dict[str, Content]]:
        app = self._pick()
        if len(app.things) < 2:
            return self._add()
        thing = app.things.pop(self.random.choice(sorted(app.things)))
        return f"{app.name}: - {thing.name}", {_file(app, thing): None, **self._new_version(app)}

    def _move(self) -> tuple[str, dict[str, Content]]:
        """An object moves to another application of its namespace: it is handed over, and lives on."""
        one = self._pick()
        others = [a for a in self.apps.values() if a.namespace == one.namespace and a is not one]
        if len(one.things) < 2 or not others:
            return self._change_value()
        other = self.random.choice(others)
        thing = one.things.pop(self.random.choice(sorted(one.things)))
        other.things[thing.name] = thing
        changes = self.random.random() < 0.5
        thing.value += changes
        files: dict[str, Content] = {_file(one, thing): None}
        files |= self._new_version(one) | self._new_version(other, due=changes)
        return f"{thing.name}: {one.name} -> {other.name}", files

    def _come(self) -> tuple[str, dict[str, Content]]:
        app = self._declare()
        return f"+ {app.name}", {f"taut/{app.name}.yaml": app.document(self.repo), **app.files(self.group)}

    def _go(self) -> tuple[str, dict[str, Content]]:
        app = self._pick()
        if len(self.apps) < 20 or any(a.needs == app.name for a in self.apps.values()):
            return self._change_value()
        del self.apps[app.name]
        files = app.files(self.group)
        return f"- {app.name}", {f"taut/{app.name}.yaml": None, **dict.fromkeys(files)}

    def _new_version(self, app: App, *, due: bool = False) -> dict[str, Content]:
        app.version += 1
        app.due = due
        return app.files(self.group)

    # What people do by hand

    def drift(self) -> tuple[Key, bool] | None:
        """An object that somebody changes by hand, or (True) deletes. None of them often: that would be contested."""
        chosen = [
            (t.kind, a.namespace, t.name)
            for a in self.apps.values()
            for t in a.things.values()
            if t.kind in ("ConfigMap", "Widget") and not self._fights.get(t.name)
        ]
        if not chosen:
            return None
        key = self.random.choice(sorted(chosen))
        self._fights[key[2]] = 1
        gone = self.random.random() < 0.3
        if gone:
            self.touched.add(key[2])
        return key, gone

    # Making things

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _thing(self) -> Thing:
        kind = self.random.choice(KINDS)
        return Thing(kind, f"{kind.lower()}-{self._next()}", 1, self.random.choice((0, 0, 1, 2)))

    def _declare(self) -> App:
        number = self._next()
        chance = self.random
        app = App(f"app-{number}", chance.choice((self.namespace, self.namespace, self.other)))
        for _ in range(chance.randint(2, 4)):
            thing = self._thing()
            app.things[thing.name] = thing
        app.hook = chance.choice(("", "", "PreSync", "PostSync"))
        app.cleared = chance.random() < 0.5
        app.needs = "ground" if chance.random() < 0.2 else ""
        self.apps[app.name] = app
        return app

    def _ground(self) -> App:
        return App("ground", self.namespace)

    def _ground_files(self) -> dict[str, Content]:
        schema = {
            "type": "object",
            "properties": {"spec": {"type": "object", "properties": {"value": {"type": "string"}}}},
        }
        crd = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"widgets.{self.group}"},
            "spec": {
                "group": self.group,
                "names": {"kind": "Widget", "plural": "widgets"},
                "scope": "Namespaced",
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            },
        }
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.other}}
        return {"apps/ground/ground.yaml": yaml(crd, space)}


def _file(app: App, thing: Thing) -> str:
    return f"apps/{app.name}/{thing.kind.lower()}-{thing.name}.yaml"
