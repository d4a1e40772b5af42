"""The demo: a real control plane, a Git repository over HTTP, taut, and a person who works with them.

Every step is done with git, kubectl and the taut command line, and is shown. `KEEP=1` leaves everything running at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import IO

from demo.ports import free_port
from demo.story import Story, say

HERE = Path(__file__).parent
FOLDER = HERE.parent / ".demo"
PLANE = "demo"
SCRIPTS = Path(sysconfig.get_path("scripts"))


class Demo:
    """What runs during the demo, and how it ends."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/platform.git"
        self.work = FOLDER / "platform"
        self.processes: list[subprocess.Popen[bytes]] = []
        environment = {
            **os.environ,
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "KUBECONFIG": str(FOLDER / "kubeconfig"),
            "XDG_RUNTIME_DIR": str(FOLDER / "run"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.com",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.com",
        }
        self.environment = environment
        self.story = Story(environment, {f"{FOLDER}/": "", str(HERE): "demo"}, FOLDER / "taut.log")

    # Before the story

    def clean(self) -> None:
        """Throw away what an earlier demo left."""
        subprocess.run(["taut", "localplane", "delete", PLANE], env=self.environment, capture_output=True, check=False)
        shutil.rmtree(FOLDER, ignore_errors=True)
        (FOLDER / "run").mkdir(parents=True)

    def start_plane(self) -> None:
        """A real Kubernetes control plane on this machine."""
        say("A real Kubernetes control plane on this machine (built once, then it starts in seconds)")
        print("$ taut localplane start demo", flush=True)
        subprocess.run(["taut", "localplane", "start", PLANE], env=self.environment, check=True)
        path = subprocess.run(
            ["taut", "localplane", "kubeconfig", PLANE],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        shutil.copy(path, FOLDER / "kubeconfig")
        self.story.run("kubectl", "get", "nodes")

    def start_git(self) -> None:
        """A repository served over HTTP, with the demo's applications in it."""
        say("A Git repository over HTTP, with an environment in it")
        bare = FOLDER / "git" / "platform.git"
        self.story.run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
        self.story.run("git", "-C", str(bare), "config", "http.receivepack", "true")
        server = [sys.executable, str(HERE / "git_http.py"), str(bare.parent), str(self.port)]
        self.start(server)
        while not self._git_answers():
            time.sleep(0.02)
        shutil.copytree(HERE / "repository", self.work)
        document = self.work / "taut" / "applications.yaml"
        document.write_text(document.read_text().replace("@REPOSITORY@", self.url))
        self.story.run("git", "init", "--quiet", "--initial-branch=main", cwd=self.work)
        self.story.run("git", "remote", "add", "origin", self.url, cwd=self.work)
        self.push("The shop: database, orders, api, web, jobs")

    def _git_answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def start_taut(self) -> None:
        """taut itself, on the root that the repository holds."""
        say("taut, told where the repository and the cluster are")
        config = FOLDER / "taut.yaml"
        config.write_text(
            "store: taut.db\nlisten: 127.0.0.1:0\n"
            "clusters: [{name: demo, kubeconfig: kubeconfig}]\n"
            f'roots: [{{name: shop, git: "{self.url}", ref: main, path: taut, poll: 1s}}]\n'
        )
        self.story.show("cat", str(config))
        print(config.read_text(), end="")
        run = ["taut", "run", "--config", str(config)]
        self.story.show(*run, "&")
        with (FOLDER / "taut.log").open("wb") as log:
            self.start(run, stdout=log, stderr=log)
        while not (FOLDER / "taut.json").exists():
            time.sleep(0.02)

    def start(self, argv: list[str], **more: IO[bytes]) -> None:
        """Run a program in the background, in a session of its own: Ctrl-C is for the demo, which ends everything in order."""
        self.processes.append(subprocess.Popen(argv, env=self.environment, start_new_session=True, **more))

    # What the story needs

    def push(self, message: str) -> None:
        """Commit everything, and push it."""
        self.story.run("git", "add", "--all", cwd=self.work)
        self.story.run("git", "commit", "--quiet", "-m", message, cwd=self.work)
        self.story.run("git", "push", "--quiet", "origin", "main", cwd=self.work)

    def edit(self, file: str, old: str, new: str) -> None:
        """Change a line of a file, and show it."""
        path = self.work / file
        path.write_text(path.read_text().replace(old, new))
        print(f"  {file}: {old.strip()} → {new.strip()}", flush=True)

    def status(self, name: str = "") -> dict[str, str] | bool:
        """One application's status; without a name whether all are in sync and healthy."""
        found = self.story.ask("taut", "status") or []
        if name:
            return next((a for a in found if a["name"] == name), {})
        return bool(found) and all((a["sync"], a["health"]) == ("Synced", "Healthy") for a in found)

    def live(self, *argv: str) -> str:
        """What kubectl says, not shown."""
        done = subprocess.run(
            ["kubectl", "-n", "shop", *argv], env=self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout

    # The story

    def tell(self) -> None:
        """The whole loop."""
        self.first_sync()
        self.commit_goes_live()
        self.drift_is_healed()
        self.removed_is_pruned()
        self.danger_is_held()
        self.summary()

    def first_sync(self) -> None:
        """From nothing to healthy, in the order of dependencies."""
        say("Applications go from nothing to healthy, in the order of their dependencies")
        self.story.follow("six applications healthy", self.status, "taut", "status", "--watch")
        self.story.run("taut", "status")
        self.story.run("taut", "tree", "orders")

    def commit_goes_live(self) -> None:
        """A commit, and the object in the cluster."""
        say("What a change would do is seen before any push")
        self.edit("apps/web/web.yaml", "greeting: hello", "greeting: good morning")
        self.story.run("taut", "diff", "./apps/web", cwd=self.work, expect=3)
        say("The commit is live within a second")
        self.push("Greet better")
        self.story.run("taut", "refresh", "--root", "shop")
        jsonpath = ("get", "configmap", "web-settings", "-o", "jsonpath={.data.greeting}")
        self.story.until("the commit is live", lambda: self.live(*jsonpath) == "good morning")
        self.story.run("kubectl", "-n", "shop", "get", "configmap", "web-settings", "-o", "jsonpath={.data}")

    def drift_is_healed(self) -> None:
        """Somebody changes something by hand."""
        say("A change by hand is noticed, named and healed")
        self.story.run("kubectl", "-n", "shop", "scale", "deployment", "web", "--replicas=1")
        replicas = ("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}")
        self.story.until("healed", lambda: self.live(*replicas) == "3")
        self.story.until("the record says so", lambda: "healed" in str(self.story.ask("taut", "drift", "web")))
        self.story.run("taut", "drift", "web")

    def removed_is_pruned(self) -> None:
        """What leaves Git leaves the cluster."""
        say("What is removed from Git is pruned")
        self.story.run("git", "rm", "--quiet", "apps/web/banner.yaml", cwd=self.work)
        self.push("The sale is over")
        self.story.until("pruned", lambda: not self.live("get", "configmap", "web-banner", "--ignore-not-found"))
        self.story.run("kubectl", "-n", "shop", "get", "configmap", "web-banner", expect=1)

    def danger_is_held(self) -> None:
        """A commit that would delete data."""
        say("A commit that would delete data is held, until somebody approves that very plan")
        path = self.work / "apps" / "database" / "database.yaml"
        path.write_text(path.read_text().rsplit("---\n", 1)[0])
        print("  apps/database/database.yaml: the volume claim is gone", flush=True)
        self.push("Clean up (a mistake)")
        self.story.until("held", lambda: (self.status("database") or {}).get("heldFor"))
        self.story.run("taut", "diff", "database", expect=3)
        self.story.run("taut", "sync", "database", "--wait", expect=4)
        self.story.run("kubectl", "-n", "shop", "get", "persistentvolumeclaims")
        say("The mistake is reverted; nothing was lost")
        self.story.run("git", "revert", "--no-edit", "HEAD", cwd=self.work, quiet=True)
        self.story.run("git", "push", "--quiet", "origin", "main", cwd=self.work)
        self.story.until("everything in sync again", self.status)

    def summary(self) -> None:
        """What was seen."""
        self.story.run("taut", "status")
        self.story.run("taut", "history", "web")
        say("What you have seen")
        for what, took in self.story.steps:
            print(f"  {what:<32} {took:>9}")

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
        subprocess.run(["taut", "localplane", "delete", PLANE], env=self.environment, capture_output=True, check=False)

    def stay(self) -> None:
        """Keep everything running until the person has seen enough."""
        say("Everything stays up. In another terminal:")
        print(f"  export KUBECONFIG={FOLDER}/kubeconfig XDG_RUNTIME_DIR={FOLDER}/run PATH={SCRIPTS}:$PATH")
        print(f"  taut status --watch        # the repository's working copy is {self.work}")
        print("Ctrl-C ends it.", flush=True)
        while True:
            time.sleep(3600)


def main() -> None:
    """Run the demo."""
    os.environ["PATH"] = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    demo = Demo()
    demo.clean()
    try:
        demo.start_plane()
        demo.start_git()
        demo.start_taut()
        demo.tell()
        if os.environ.get("KEEP"):
            demo.stay()
    except KeyboardInterrupt:
        print()
    finally:
        demo.end()


if __name__ == "__main__":
    main()
