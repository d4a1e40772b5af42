"""What a render reads from the target: each ConfigMap and Secret once, and a keyed hash of it, so that equal reads give equal keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from taut.model.application import HelmOptions, Substitute, ValuesFrom
from taut.model.errors import BadInput, RenderError
from taut.render.protocols import TargetReader
from taut.render.wire import ValuesLayer

_KINDS = ("ConfigMap", "Secret")
_WORD = re.compile(r"[^\s'\",:=\[\]{}]{4,}")
_DEFAULT_KEY = "values.yaml"


@dataclass(frozen=True, slots=True)
class TargetRead:
    """One read: which object, and the keyed hash of what was in it (None: there was none)."""

    kind: str
    namespace: str
    name: str
    hash: str | None


@dataclass
class TargetValues:
    """The target, as one render sees it. `seal` hashes bytes with a key, for nobody may guess a secret from its hash."""

    target: TargetReader | None
    namespace: str
    seal: Callable[[bytes], str]
    _known: dict[tuple[str, str, str], dict[str, bytes] | None] = field(
        default_factory=dict[tuple[str, str, str], "dict[str, bytes] | None"]
    )

    async def layers(self, options: HelmOptions) -> list[ValuesLayer]:
        """The layers of `valuesFrom`. Raises RenderError for what is missing and not optional."""
        result: list[ValuesLayer] = []
        for reference in options.values_from:
            data = await self._read(reference)
            if data is None:
                continue
            key = reference.key or _DEFAULT_KEY
            if key not in data:
                if not reference.optional:
                    raise RenderError(f"{_name(reference)} has no key {key}", advice="add it, or set optional: true")
                continue
            result.append(_layer(reference, data[key]))
        return result

    async def variables(self, substitute: Substitute) -> dict[str, str]:
        """The variables of `varsFrom`, later ones winning, and over them the inline ones. Raises RenderError for what is missing."""
        result: dict[str, str] = {}
        for reference in substitute.vars_from:
            data = await self._read(reference)
            if data is None:
                continue
            if reference.key is not None and reference.key not in data and not reference.optional:
                raise RenderError(
                    f"{_name(reference)} has no key {reference.key}", advice="add it, or set optional: true"
                )
            for key, value in data.items():
                if reference.key in {None, key}:
                    result[key] = _decoded(value, reference)
        return {**result, **substitute.vars}

    @property
    def reads(self) -> tuple[TargetRead, ...]:
        """What was read so far, in a stable order."""
        return tuple(
            TargetRead(*key, None if data is None else self._hash(data)) for key, data in sorted(self._known.items())
        )

    def masked(self, text: str) -> str:
        """`text` without any word of the Secrets that were read: a chart may well put a password into its error."""
        words: set[str] = set()
        for (kind, _, _), data in self._known.items():
            for value in (data or {}).values() if kind == "Secret" else ():
                words.update(_WORD.findall(value.decode(errors="replace")))
        for word in sorted(words, key=len, reverse=True):
            text = text.replace(word, "•••")
        return text

    def _hash(self, data: dict[str, bytes]) -> str:
        parts = [part for key, value in sorted(data.items()) for part in (key.encode(), value)]
        return self.seal(b"".join(len(part).to_bytes(8) + part for part in parts))

    async def _read(self, reference: ValuesFrom) -> dict[str, bytes] | None:
        if reference.kind not in _KINDS:
            raise BadInput(f"values come from a ConfigMap or a Secret, not from a {reference.kind}")
        key = (reference.kind, reference.namespace or self.namespace, reference.name)
        if key not in self._known:
            if self.target is None:
                if reference.optional:
                    return None
                raise RenderError(
                    f"{_name(reference)} is in the target, and no target is connected",
                    advice="set optional: true, or render with a target",
                )
            self._known[key] = await self.target.read(*key)
        if self._known[key] is None and not reference.optional:
            raise RenderError(
                f"{_name(reference)} does not exist in the namespace {key[1] or 'default'}",
                advice="create it, or set optional: true",
            )
        return self._known[key]


def _name(reference: ValuesFrom) -> str:
    return f"{reference.kind} {reference.name}"


def _decoded(value: bytes, reference: ValuesFrom) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise RenderError(f"{_name(reference)} holds bytes that are no text") from None


def _layer(reference: ValuesFrom, value: bytes) -> ValuesLayer:
    """With a target path the text is set there as `--set` would; in quotes it stays text, as in Flux."""
    origin = _name(reference)
    if not reference.target_path:
        return ValuesLayer(value, origin)
    text = _decoded(value, reference).rstrip("\n")
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return ValuesLayer(
        (text[1:-1] if quoted else text).encode(), origin, reference.target_path, "text" if quoted else "set"
    )
