"""The provider `fake`: values that stand in the store's document."""

from __future__ import annotations

from taut.secrets.external.documents import Find, RemoteRef
from taut.secrets.external.errors import NothingThereError, ProviderError
from taut.secrets.external.selecting import fits
from taut.secrets.external.stores import Fake, FakeData, Store
from taut.secrets.external.values import go_json, parsed, parsed_map, property_of


class FakeProvider:
    """Values of a document."""

    def __init__(self, store: Store, spec: Fake) -> None:
        self._store, self._data = store, spec.data

    async def get(self, ref: RemoteRef) -> bytes:
        """The value of a key and a version, or a property of it."""
        value = _value(self._entry(ref))
        return property_of(parsed(value), ref.property) if ref.property else value

    async def get_map(self, ref: RemoteRef) -> dict[str, bytes]:
        """The members of a value that is a JSON object."""
        entry = self._entry(ref)
        if entry.value_map is not None and not ref.property:
            return {k: v.encode() for k, v in entry.value_map.items()}
        return parsed_map(await self.get(ref))

    async def find(self, find: Find) -> dict[str, bytes]:
        """The values of the keys that an expression fits; there are no tags."""
        if find.name is None:
            raise ProviderError("the provider fake has no tags", "find by name")
        entries = [d for d in self._data if fits(find.name.regexp, d.key)]
        return {d.key: _value(d) for d in entries if d.key.startswith(find.path or "")}

    async def close(self) -> None:
        """Nothing is borrowed."""

    def _entry(self, ref: RemoteRef) -> FakeData:
        for entry in self._data:
            if entry.key == ref.key and entry.version == ref.version:
                return entry
        version = f" of version {ref.version}" if ref.version else ""
        raise NothingThereError(f"there is no such key{version}")


def _value(entry: FakeData) -> bytes:
    return go_json(entry.value_map) if entry.value_map is not None else entry.value.encode()
