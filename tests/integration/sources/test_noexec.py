"""Where programs may not be run from shared memory, as in most containers, git is answered all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

SCRIPT = """
import os, subprocess
from taut.clients.credentials import Credentials
from taut.sources.git_command import prepared_environment
from taut.sources.repository_url import parse_repository_url

held = Credentials(username="me", password="hunter2")
with prepared_environment(parse_repository_url("https://git.example.com/a"), held) as environment:
    asked = [environment["GIT_ASKPASS"], "Password for 'https://me@git.example.com'"]
    print(subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout)
    assert environment["HOME"].startswith("/dev/shm/"), environment["HOME"]
    program = environment["GIT_ASKPASS"]
assert not os.path.exists(program)
"""


def test_git_is_answered() -> None:
    mount = "mount -t tmpfs -o noexec tmpfs /dev/shm"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this system gives no mount namespace")
    command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("hunter2", "")
