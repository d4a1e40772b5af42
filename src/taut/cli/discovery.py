"""Finding the running taut: told, or by the files that `taut run` leaves beside its store and in the user's runtime folder."""

from __future__ import annotations

from pathlib import Path

from taut.model.errors import BadInput, TautError, Where
from taut.server import announce

_NOT_RUNNING = "start it with `taut run --config taut.yaml`, or name another one with --server and --token-file"


def find(server: str | None, token_file: Path | None) -> tuple[str, str]:
    """The address and the token of the taut to talk to.

    In this order: `server`, a `taut.json` in this folder, the only taut of this user that runs. Raises TautError when none runs, BadInput
    when several do or the token cannot be read.
    """
    if server:
        url = server.rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise BadInput(f"{server!r} is no address of a taut", advice="write it like http://127.0.0.1:7411")
        known = next((a for a in announce.running() if a.server == url), None)
        if token_file is None and known is None:
            raise BadInput(f"The token for {url} is not known", advice="name its file with --token-file")
        return url, _token(token_file or Path(known.token_file if known else ""))
    found = _announced()
    return found.server, _token(token_file or Path(found.token_file))


def _announced() -> announce.Announcement:
    here = announce.read(Path("taut.json"))
    if here is not None and announce.alive(here.pid):
        return here
    running = announce.running()
    if not running:
        raise TautError("No taut is running for this user on this machine", advice=_NOT_RUNNING)
    if len(running) > 1:
        listed = ", ".join(f"{a.server} ({a.store})" for a in running)
        raise BadInput(f"{len(running)} tauts are running: {listed}", advice="choose one with --server")
    return running[0]


def _token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            "The token file cannot be read",
            where=Where(file=str(path)),
            advice="only the user that runs taut may; name another file with --token-file",
        ) from error
