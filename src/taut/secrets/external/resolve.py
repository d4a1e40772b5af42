"""From an ExternalSecret to its Secret: stores are found, asked, and what they gave is put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from taut.model.errors import BadInput, TautError
from taut.model.manifests import Body
from taut.secrets.external.asking import Asker, Options, Provider, Reader, Templates
from taut.secrets.external.documents import DataFrom, ExternalSecret, SourceRef, StoreRef
from taut.secrets.external.errors import Asked, ExternalError, NothingThereError, ProviderError
from taut.secrets.external.http import Http
from taut.secrets.external.keys import check_keys, converted, fetched, rewritten
from taut.secrets.external.providers import provider
from taut.secrets.external.selecting import labels_of, may_use
from taut.secrets.external.stores import Store
from taut.secrets.external.target import content, other_owner, secret


class Action(StrEnum):
    """What is to be done with the Secret."""

    APPLY = "apply"
    """It is to be as `Resolved.secret` is."""
    MERGE = "merge"
    """The values of `Resolved.secret` belong into the one that is there; its other values stay."""
    DELETE = "delete"
    """Nothing is left in the stores, and the deletionPolicy says Delete."""
    KEEP = "keep"
    """The one that is there stays as it is."""
    NOTHING = "nothing"
    """There is no Secret, and none is to be made."""


@dataclass(frozen=True)
class Resolved:
    """What came of an ExternalSecret. `secret` and `content` (the Secret's values, decoded) hold what is secret: they show in no repr, and no hash
    of them is made here. `missing` names the keys that were not there, `why` says why the Secret is kept, deleted or not made.
    """

    external: ExternalSecret = field(repr=False)
    action: Action
    secret: Body | None = field(default=None, repr=False)
    content: dict[str, bytes] = field(default_factory=dict[str, bytes], repr=False)
    missing: tuple[str, ...] = ()
    why: str = ""


async def resolve(
    external: ExternalSecret, asker: Asker, *, templates: Templates, http: Http, options: Options | None = None
) -> Resolved:
    """The Secret of an ExternalSecret, and what is to be done with it.

    Reads the stores through `asker`, their values through `http`. Raises ExternalError (a TautError) that says store, provider, key and property,
    why it failed and what to do; BadInput for a document that cannot be meant. No value is in an error.
    """
    options = options or Options()
    work = _Work(external, asker, templates, http, options)
    try:
        async with asyncio.timeout(options.seconds):
            return await work.resolved()
    except TimeoutError:
        raise ExternalError(
            f"it takes longer than {options.seconds:g} s",
            where=external.at(""),
            advice="ask for less in one ExternalSecret",
        ) from None
    finally:
        await work.close()


@dataclass
class _Open:
    store: Store
    provider: Provider


class _Work:
    """One ExternalSecret under way: each store is signed in to once."""

    def __init__(
        self, external: ExternalSecret, asker: Asker, templates: Templates, http: Http, options: Options
    ) -> None:
        self._external, self._asker, self._templates, self._http, self._options = (
            external,
            asker,
            templates,
            http,
            options,
        )
        self._open: dict[tuple[str, str], _Open] = {}
        self._missing: list[str] = []

    async def close(self) -> None:
        """Give back what was borrowed."""
        for opened in self._open.values():
            await opened.provider.close()

    async def resolved(self) -> Resolved:
        external, target = self._external, self._external.spec.target
        live = None
        if target.creation_policy != "None":
            live = await self._asker.secret(external.namespace, external.target)
            early = self._before(live)
            if early is not None:
                return early
        values = await self._values()
        missing = tuple(self._missing)
        if not values and target.deletion_policy != "Merge":
            return self._empty(live, missing)
        if live is not None and live.get("immutable") is True:
            why = f"Secret {external.namespace}/{external.target} is immutable"
            return Resolved(external, Action.KEEP, missing=missing, why=why)
        made = await content(external, values, self._asker, self._templates)
        if target.creation_policy == "None":
            why = "creationPolicy None makes no Secret"
            return Resolved(external, Action.NOTHING, content=made.data, missing=missing, why=why)
        merging = target.creation_policy in {"Merge", "CreateOrMerge"} and live is not None
        action = Action.MERGE if merging else Action.APPLY
        return Resolved(external, action, secret(external, made, live), made.data, missing)

    def _before(self, live: Body | None) -> Resolved | None:
        """What is clear before any store is asked."""
        external, policy = self._external, self._external.spec.target.creation_policy
        name = f"Secret {external.namespace}/{external.target}"
        if live is None:
            if policy == "Merge":
                return Resolved(external, Action.NOTHING, why=f"creationPolicy Merge needs {name}, and there is none")
            return None
        owner = other_owner(external, live) if policy == "Owner" else ""
        if owner:
            raise ExternalError(
                f"{name} belongs to {owner}",
                where=external.at("spec.target.name"),
                advice="name another Secret, or set creationPolicy to Merge",
            )
        return None

    def _empty(self, live: Body | None, missing: tuple[str, ...]) -> Resolved:
        why = "nothing of it is in the stores"
        if live is None:
            return Resolved(self._external, Action.NOTHING, missing=missing, why=why)
        delete = self._external.spec.target.deletion_policy == "Delete"
        return Resolved(self._external, Action.DELETE if delete else Action.KEEP, missing=missing, why=why)

    async def _values(self) -> dict[str, bytes]:
        spec = self._external.spec
        values: dict[str, bytes] = {}
        for number, many in enumerate(spec.data_from):
            found = await self._asked(
                f"spec.dataFrom[{number}]", many.source_ref, lambda p, m=many: self._many(p, m), many
            )
            values |= found or {}
        for number, one in enumerate(spec.data):
            ref = one.remote_ref

            async def read(asked: Provider, ref: Any = ref) -> dict[str, bytes]:
                return {"": fetched(ref, await asked.get(ref))}

            found = await self._asked(f"spec.data[{number}]", one.source_ref, read, ref)
            if found is not None:
                values[one.secret_key] = found[""]
        return values

    async def _many(self, asked: Provider, many: DataFrom) -> dict[str, bytes]:
        ref = many.extract or many.find
        if ref is None:
            return {}
        found = await asked.get_map(many.extract) if many.extract else await asked.find(many.find) if many.find else {}
        if many.rewrite:
            found = await rewritten(many.rewrite, found, self._templates)
        else:
            found = converted(ref.conversion_strategy, found)
        return {k: fetched(ref, v) for k, v in check_keys(found).items()}

    async def _asked(
        self, at: str, source: SourceRef | None, ask: Callable[[Provider], Awaitable[dict[str, bytes]]], what: Any
    ) -> dict[str, bytes] | None:
        """What a store gives; None when it is not there and the deletionPolicy takes that for an answer."""
        opened = await self._opened(at, source)
        store = opened.store
        try:
            return await ask(opened.provider)
        except ProviderError as error:
            asked = _asked_of(store, what)
            if isinstance(error, NothingThereError) and self._external.spec.target.deletion_policy != "Retain":
                self._missing.append(str(asked))
                return None
            advice = error.advice
            if isinstance(error, NothingThereError):
                advice = (
                    advice
                    or "correct the key, or write it into the store; the Secret stays as it is (deletionPolicy Retain)"
                )
            raise ExternalError(str(error), where=self._external.at(at), advice=advice, asked=asked) from None
        except RecursionError:
            raise ExternalError(
                "the value is nested too deep", where=self._external.at(at), asked=_asked_of(store, what)
            ) from None
        except (ExternalError, BadInput):
            raise
        except TautError as error:
            raise ExternalError(
                error.what, where=self._external.at(at), advice=error.advice, asked=_asked_of(store, what)
            ) from None

    async def _opened(self, at: str, source: SourceRef | None) -> _Open:
        ref = (
            source.store_ref
            if source is not None and source.store_ref is not None
            else self._external.spec.secret_store_ref
        )
        key = (ref.kind or "SecretStore", ref.name)
        if key not in self._open:
            store = await self._store(at, ref)
            reader = Reader(self._asker.for_store(store), store, self._external.namespace)
            try:
                made = provider(store, reader, self._http, self._options, self._templates)
            except ProviderError as error:
                raise ExternalError(
                    str(error), where=self._external.at(at), advice=error.advice, asked=_asked_of(store, None)
                ) from None
            self._open[key] = _Open(store, made)
        return self._open[key]

    async def _store(self, at: str, ref: StoreRef) -> Store:
        external, kind = self._external, ref.kind or "SecretStore"
        wide = kind == "ClusterSecretStore"
        store = await self._asker.store(kind, "" if wide else external.namespace, ref.name)
        asked = Asked(store=f"{kind} {ref.name}" if wide else f"{kind} {external.namespace}/{ref.name}")
        if store is None:
            raise ExternalError(
                "there is no such store", where=external.at(at), advice="create it, or correct the name", asked=asked
            )
        labels = labels_of(await self._asker.namespace(external.namespace)) if store.conditions else {}
        if not may_use(store, external.namespace, labels):
            raise ExternalError(
                f"namespace {external.namespace} may not use this store: none of its conditions fits",
                where=external.at(at),
                advice="have the namespace added to the store's conditions",
                asked=Asked(str(store), store.provider),
            )
        return store


def _asked_of(store: Store, what: Any) -> Asked:
    find = what.find if isinstance(what, DataFrom) else None
    if find is not None:
        tags = ", ".join(f"{k}={v}" for k, v in (find.tags or {}).items())
        fits = f"names like {find.name.regexp}" if find.name is not None else f"tags {tags}"
        return Asked(str(store), store.provider, f"find {fits}" + (f" below {find.path}" if find.path else ""))
    ref = what.extract if isinstance(what, DataFrom) else what
    return Asked(str(store), store.provider, ref.key if ref else "", ref.property if ref else "")
