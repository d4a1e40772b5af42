"""What git and libgit2 say when something fails, in sentences that tell what to do. Pure."""

from __future__ import annotations

import re

from taut.clients.credentials import Credentials
from taut.model.errors import SourceError, Where
from taut.sources.repository_url import shown

_RULES: tuple[tuple[str, str, str], ...] = (
    (
        r"host key verification failed|no .* host key is known|remote host identification has changed",
        "the SSH server's host key is not known",
        "put the server's key into `known_hosts` of the credentials, after comparing it with what the operator of the server publishes",
    ),
    (
        r"certificate|self.signed|unable to get local issuer|ssl verif",
        "the server's certificate is not trusted",
        "give its authority as `ca` in the credentials",
    ),
    (
        r"permission denied \(|publickey|error in libcrypto|load key",
        "the SSH server does not accept the key",
        "check the SSH key in taut's credentials, and that the server knows its public half",
    ),
    (
        r"\b401\b|authentication failed|could not read (username|password)|authentication required|authentication replays|no callback set"
        r"|terminal prompts disabled|unable to get password|unable to read askpass",
        "{login}",
        "check user name, password or token in taut's configuration",
    ),
    (r"\b403\b", "the server refuses access (403)", "check what these credentials may read"),
    (
        r"redirect|\b30[12378]\b",
        "the server redirects to another address",
        "write the address the repository has now: taut takes credentials nowhere else",
    ),
    (
        r"dubious ownership|not owned by|safe\.directory",
        "the repository's folder belongs to another user",
        "give it to the user that taut runs as",
    ),
    (
        r"\b404\b|repository not found|repository '.*' not found|does not appear to be a git repository|could not find repository"
        r"|failed to resolve path|no such file|project not found|does not exist",
        "there is no repository at this address, or these credentials may not see it",
        "check the address and the credentials",
    ),
    (
        r"could not resolve host|failed to resolve address|name or service not known|could not resolve hostname",
        "the host's name is not known",
        "check the address and the name server",
    ),
    (
        r"\b429\b|too many requests",
        "the server says that it is asked too often (429)",
        "taut tries again later, less and less often; a longer poll with a webhook asks less",
    ),
    (r"connection refused", "the server refuses the connection", "check that it runs and the port is right"),
    (r"timed out|timeout|operation too slow", "the repository does not answer in time", "taut tries again later"),
    (
        r"failed to connect|couldn't connect|no route to host|network is unreachable",
        "the server cannot be reached",
        "check that it runs",
    ),
    (
        r"not our ref|unadvertised object",
        "the server does not give out that commit",
        "use a commit that a branch or tag contains",
    ),
    (r"couldn't find remote ref|no match for refspec", "the repository has no such ref", "check the name"),
    (r"no space left", "the disk is full", "make room in taut's folder"),
    (
        r"early eof|unexpected disconnect|remote end hung up|unexpectedly|reset by peer|\beof\b",
        "the connection broke",
        "taut tries again later",
    ),
    (r"\b5[0-9][0-9]\b", "the server fails (a status of 5xx)", "taut tries again later"),
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), what, advice) for pattern, what, advice in _RULES)


def explain(message: str, url: str, credentials: Credentials | None) -> SourceError:
    """The error for a message of git, ssh or libgit2. Whatever part of the message is kept holds no credentials."""
    text = _without_secrets(message, credentials)
    where = Where(shown(url))
    for pattern, what, advice in _COMPILED:
        if pattern.search(text):
            return SourceError(what.format(login=_login(credentials)), where=where, advice=advice)
    return SourceError(f"the repository could not be read: {_last_line(text)}", where=where)


def _login(credentials: Credentials | None) -> str:
    if credentials is None or not credentials.identifies:
        return "the repository wants credentials, and there are none for this address"
    return "the server does not accept the credentials"


def _without_secrets(message: str, credentials: Credentials | None) -> str:
    text = message
    for secret in (credentials.password, credentials.bearer) if credentials else ():
        if secret:
            text = text.replace(secret, "…")
    return re.sub(r"://[^/@\s']*@", "://", text)


def _last_line(text: str) -> str:
    """The line that says most: the first `fatal:` or `error:`, else the last one. Servers' own lines may hold anything printable."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    chosen = next(
        (line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "no reason given"
    )
    printable = "".join(c if c.isprintable() else " " for c in chosen)
    return printable.removeprefix("fatal:").removeprefix("error:").strip()[:300]
