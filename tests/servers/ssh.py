"""Git over SSH by the real OpenSSH server, as a plain process of the user that runs the tests."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from servers.git import GitRepo

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

_CONFIG = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PubkeyAuthentication yes
AllowTcpForwarding no
LogLevel ERROR
"""


@dataclass(frozen=True)
class SshKeys:
    """What a client needs: its private key and the server's entry for known_hosts."""

    private_key: Path
    public_key: str
    known_hosts: Path


class GitSshServer:
    """Serves all repositories below `root` over SSH. A context manager.

    The listening socket is ours and each connection gets an `sshd -i` of its own, so that the port is taken without a race.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        assert SSHD, "sshd is missing: install the package openssh-server"
        self.root = root
        self._folder = folder
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._socket.getsockname()[1]
        folder.mkdir(parents=True, exist_ok=True)
        self.keys = self._make_keys()
        (folder / "sshd_config").write_text(_CONFIG.format(folder=folder))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where a server that starts as root locks itself in

    @property
    def url(self) -> str:
        """The address of `root`."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{self.root}"

    def repo(self, name: str) -> GitRepo:
        """The repository `name` (made when it is new), served at `url/name.git`."""
        return GitRepo(self.root / f"{name}.git", f"{self.url}/{name}.git")

    def start(self) -> None:
        """Serve."""
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Stop serving: from now on connections are refused."""
        # Closing alone does not wake the thread that waits in accept.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> GitSshServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        assert SSHD
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        assert SSHD
        with connection, (self._folder / "sshd.log").open("ab") as log:
            argv = [SSHD, "-i", "-e", "-f", str(self._folder / "sshd_config")]
            subprocess.run(argv, stdin=connection, stdout=connection, stderr=log, check=False)

    def _make_keys(self) -> SshKeys:
        for name in ("host_key", "client_key"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self._folder / name)]
            subprocess.run(argv, check=True)
        public = (self._folder / "client_key.pub").read_text().strip()
        (self._folder / "authorized_keys").write_text(public + "\n")
        host = " ".join((self._folder / "host_key.pub").read_text().split()[:2])
        known_hosts = self._folder / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{self.port} {host}\n")
        return SshKeys(self._folder / "client_key", public, known_hosts)
