"""What one render decrypts: files on their way in, and afterwards the traces of their values in what came out.

Nothing here outlives the render, and none of it is written: the closure knows the encrypted files, results are sealed where they are kept.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from taut.model.errors import RenderError, TautError, Where
from taut.model.manifests import Manifest, Origin
from taut.render.protocols import Decrypter, LockedError, Opened

MARK = b"ENC[AES256_GCM,"
"""What every encrypted file holds; only files that do are looked at any further."""
SHOWN = "•••"
HIDDEN = "••••••"
_LEAST_EQUAL = 3
_LEAST_MASKED = 4
LEAST_FOUND = 8
"""Shorter values may stand anywhere for another reason: they are not looked for in objects, nor masked in names."""
_LEAST_WORD = 8
_MOST_NAMED = 5
_WORD = re.compile(r"[^\s'\",:=\[\]{}()]+")
_ENCODED = tuple(base64.b64encode(b"\0" * n + MARK)[-(-n * 8 // 6) : -4].decode() for n in range(3))
"""What the mark looks like inside of base64, where it can begin at each of three places."""
_MEANT_ENCRYPTED = frozenset({"SopsSecret"})


@dataclass(frozen=True, slots=True)
class DecryptedField:
    """A field that a value of an encrypted file came to: `object` as `ObjectRef.id`, a dotted path, and the file."""

    object: str
    path: str
    file: str
    keys: tuple[str, ...]
    """The keys on the way to it; positions in lists are left out."""
    short: bool = False
    """The value is so short that it may be equal by chance."""


@dataclass
class Decryption:
    """One render's decrypted files. Without a decrypter every file stays as it is; `keep` lets encrypted objects pass (for a look at them)."""

    decrypter: Decrypter | None
    seal: Callable[[bytes], str]
    keep: bool = False
    _values: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    _locked: dict[tuple[str, str], TautError] = field(default_factory=dict[tuple[str, str], TautError])
    _used: bool = False

    def read(self, data: bytes, repository: str, path: str, *, optional: bool) -> bytes:
        """The content of a file that holds the mark: plain, or as it is when it is not encrypted after all.

        One that no key opens is an error, unless it is `optional`: of a folder that is taken whole nobody may want it. Raises
        LockedError and BadInput with the file.
        """
        if self.decrypter is None or (repository, path) in self._locked:
            return data
        try:
            opened = self.decrypter.open(data, path)
        except TautError as error:
            self._used = True
            error.where = replace(error.where, repository=repository, file=path)
            if optional and isinstance(error, LockedError):
                self._locked[repository, path] = error
                return data
            raise
        if opened is None:
            return data
        self.note(opened, path)
        return opened.text

    def note(self, opened: Opened, file: str) -> None:
        """Take over the values of a file that was opened."""
        self._used = True
        for value in opened.values:
            self._values.setdefault(value, file)

    def demand(self, repository: str, path: str) -> None:
        """A file that was optional is wanted after all. Raises the error that it had."""
        error = self._locked.get((repository, path))
        if error is not None:
            raise error

    @property
    def used(self) -> bool:
        """Whether an encrypted file took part."""
        return self._used

    @property
    def key(self) -> tuple[str, ...]:
        """What a render's key holds of this: nothing while no encrypted file took part, else a keyed hash that stands for the keys."""
        return (self.decrypter.identity(self.seal),) if self._used and self.decrypter is not None else ()

    def masked(self, text: str, least: int = _LEAST_MASKED) -> str:
        """`text` without any decrypted value, in whatever form a renderer may quote it; what is shorter than `least` stays."""
        if not self._values or not text:
            return text
        forms = sorted({f for v in self._values for f in _forms(v) if len(f) >= least}, key=len, reverse=True)
        for form in forms:
            text = text.replace(form, SHOWN)
        return _without_cut_value(text, forms)

    def mask(self, error: TautError) -> None:
        """Take decrypted values out of an error, also out of what led to it."""
        if not self._values:
            return
        error.what, error.advice = self.masked(error.what), self.masked(error.advice)
        where = error.where  # the path of a file is Git's: a short value would only make it unreadable
        error.where = replace(
            where,
            file=self.masked(where.file, LEAST_FOUND),
            object=self.masked(where.object, LEAST_FOUND),
            field=self.masked(where.field, LEAST_FOUND),
        )
        error.args = (str(error),)
        error.__cause__ = error.__context__ = None

    def check(self, manifests: Iterable[Manifest]) -> None:
        """Raises RenderError for an object that is still encrypted: nothing of it may reach a cluster."""
        if self.keep:
            return
        for manifest in manifests:
            whole = isinstance(manifest.body.get("sops"), dict) and manifest.kind not in _MEANT_ENCRYPTED
            if whole or (self._locked and _holds_encrypted(manifest.body)):
                raise self._encrypted(manifest)

    def _encrypted(self, manifest: Manifest) -> RenderError:
        files = [f"{path}: {error.what}" for (_, path), error in self._locked.items()][:_MOST_NAMED]
        why = f" ({'; '.join(files)})" if files else ""
        advice = "give taut a key of it (secrets.sops.keys in the configuration), or exclude the file"
        return RenderError(f"{manifest} is still encrypted{why}", where=_where(manifest.origin), advice=advice)

    def traces(self, manifests: Iterable[Manifest]) -> Iterator[DecryptedField]:
        """The fields that decrypted values came to: as they are, inside a longer text, or in base64 (of what a Secret holds also inside of it).

        Short values only whole, and the shortest only in objects of the encrypted file itself.
        """
        values = {v.strip(): f for v, f in self._values.items() if v.strip()}
        long = {v: f for v, f in values.items() if len(v) >= LEAST_FOUND}
        forms = {form: file for v, file in long.items() for form in _written(v)}
        short = {form: f for v, f in values.items() if v not in long for form in _written(v)}
        for manifest in manifests if values else ():
            leaves = [(path, keys, _readings(manifest, keys, text)) for path, keys, text in _leaves(manifest.body)]
            together = "\0".join(text for _, _, texts in leaves for text in texts)
            found = {form: file for form, file in forms.items() if form in together}
            for path, keys, texts in leaves:
                file = next((f for form, f in found.items() if any(form in t for t in texts)), None)
                whole = next((t for t in texts if t in short), None)
                if file is not None:
                    yield DecryptedField(manifest.ref("").id, path, file, keys)
                elif whole is not None and _is_content(path) and _means(whole, short[whole], manifest):
                    yield DecryptedField(manifest.ref("").id, path, short[whole], keys, short=True)


def _means(text: str, file: str, manifest: Manifest) -> bool:
    """Whether a short text is a value of the file rather than equal to one by chance."""
    return len(text) >= _LEAST_EQUAL or manifest.origin.file == file


def _written(value: str) -> tuple[str, ...]:
    return value, _base64(value), _base64(value + "\n")


def _readings(manifest: Manifest, keys: tuple[str, ...], text: str) -> tuple[str, ...]:
    """A field's text, and where a Secret holds it in base64, what that says."""
    if keys[0] != "data" or not is_secret(manifest):
        return (text,)
    try:
        return text, base64.b64decode(text, validate=True).decode().strip()
    except ValueError:
        return (text,)


def _is_content(path: str) -> bool:
    return path not in {"apiVersion", "kind"} and not path.startswith("metadata.")


def marked(manifests: Sequence[Manifest], traces: Iterable[DecryptedField]) -> tuple[Manifest, ...]:
    """The objects, each with a note in its origin of where decrypted values came to."""
    places: dict[str, dict[tuple[str, ...], None]] = {}
    for trace in traces:
        places.setdefault(trace.object, {})[trace.keys] = None

    def noted(manifest: Manifest) -> Manifest:
        keys = places.get(manifest.ref("").id)
        return Manifest(manifest.body, replace(manifest.origin, secret=tuple(keys))) if keys else manifest

    return tuple(noted(m) for m in manifests)


def hidden(manifest: Manifest, paths: Collection[str]) -> dict[str, Any]:
    """An object to show: without what is at `paths`, and without everything that a Secret holds."""
    secret = ("data.", "stringData.") if is_secret(manifest) else ()

    def shown(value: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            return {k: shown(v, f"{path}.{k}" if path else str(k)) for k, v in value.items()}
        if isinstance(value, list):
            return [shown(v, f"{path}[{n}]") for n, v in enumerate(value)]
        return HIDDEN if path in paths or (secret and path.startswith(secret)) else value

    return shown(manifest.body, "")


def warnings_of(traces: Iterable[DecryptedField], manifests: Iterable[Manifest]) -> Iterator[str]:
    """One warning for each object that is no Secret and holds a decrypted value."""
    kinds = {m.ref("").id: m for m in manifests}
    places: dict[str, list[DecryptedField]] = {}
    for trace in traces:
        if not trace.short and not is_secret(kinds[trace.object]):
            places.setdefault(trace.object, []).append(trace)
    for name, found in places.items():
        paths = ", ".join(t.path for t in found[:_MOST_NAMED])
        yield (
            f"plain value of a SOPS file lands in {kinds[name]} ({paths}; from {found[0].file}): whoever may read a {kinds[name].kind} "
            "reads it; use a Secret"
        )


def is_secret(manifest: Manifest) -> bool:
    """Whether an object is a core Secret."""
    return manifest.kind == "Secret" and manifest.api_version == "v1"


def _where(origin: Origin) -> Where:
    return Where(repository=origin.source, file=origin.file, line=origin.line)


def _forms(value: str) -> Iterator[str]:
    """What a value may look like in a message: whole, its lines, its words, on one line, quoted, in base64."""
    text = value.strip()
    lines = [line.strip() for line in text.splitlines()]
    quoted = json.dumps(text, ensure_ascii=False)[1:-1]
    found = [text, *lines, " ".join(text.split()), quoted, quoted.replace("&", "\\u0026")]
    found += [_base64(value), _base64(text)]
    yield from (f for f in found if len(f) >= _LEAST_MASKED)
    yield from (w for w in _WORD.findall(text) if len(w) >= _LEAST_WORD)


def _without_cut_value(text: str, forms: list[str]) -> str:
    """Messages are cut where they are long: the beginning of a value may stand at the end."""
    body, cut = (text[:-1], "…") if text.endswith("…") else (text, "")
    for form in forms:
        at = body.find(form[:_LEAST_MASKED])
        while at >= 0:
            if form.startswith(body[at:]):
                return body[:at] + SHOWN + cut
            at = body.find(form[:_LEAST_MASKED], at + 1)
    return text


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _leaves(value: Any, path: str = "", keys: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...], str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key), (*keys, str(key)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]", keys)
    elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield path, keys, str(value)


def _holds_encrypted(body: Mapping[str, Any]) -> bool:
    marks = (MARK.decode(), *_ENCODED)
    return any(mark in text for _, _, text in _leaves(body) for mark in marks)
