"""Rego in a template: compiled once a thread, evaluated with a review and parameters."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from taut.policy.gatekeeper.builtins import BUILTINS
from taut.policy.gatekeeper.errors import GatekeeperError
from taut.policy.gatekeeper.rego_source import adapted

_PACKAGE = re.compile(r"^\s*package\s+([A-Za-z_][\w.]*)", re.MULTILINE)
_LONGEST_LINE, _MOST_BYTES = 65_536, 1_048_576
_REFUSED = {
    "http.send": "http.send asks the network, which no policy may",
    "opa.runtime": "opa.runtime shows the environment, which no policy may see",
    "net.lookup_ip_addr": "net.lookup_ip_addr asks the network, which no policy may",
    "rego.parse_module": "rego.parse_module is not supported",
    "external_data": "external_data asks a provider in the cluster, which only Gatekeeper can",
}
_COMMENT_OR_TEXT = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`|#[^\n]*')


@dataclass(frozen=True)
class Rego:
    """The source of a template and its libraries. `v1` tells the language's version."""

    source: str
    libraries: Sequence[str] = ()
    v1: bool = False
    _local: threading.local = field(default_factory=threading.local, compare=False)

    @property
    def inventory(self) -> bool:
        """Whether other objects are looked at (`data.inventory`)."""
        return any("data.inventory" in text for text in (self.source, *self.libraries))

    @property
    def package(self) -> str:
        """The package of the template's own module. Raises GatekeeperError when it has none."""
        found = _PACKAGE.search(self.source)
        if not found:
            raise GatekeeperError("the Rego has no package")
        return found[1]

    def check(self) -> None:
        """Compile it. Raises GatekeeperError for what cannot be compiled, or asks for what no policy may have."""
        for text in (self.source, *self.libraries):
            code = _COMMENT_OR_TEXT.sub('""', text)
            for name, why in _REFUSED.items():
                if re.search(rf"(?<![\w.]){re.escape(name)}\s*\(", code):
                    raise GatekeeperError(why)
        self._engine()

    def violations(self, value: dict[str, Any], inventory: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The members of `violation` (each with `msg`, and `details` where given) for an input. Raises GatekeeperError."""
        engine = self._engine()
        try:
            engine.clear_data()
            if inventory is not None:
                engine.add_data_json(orjson.dumps({"inventory": inventory}).decode())
            engine.set_input_json(orjson.dumps(value).decode())
            found = engine.eval_rule_as_json(f"data.{self.package}.violation")
        except Exception as error:  # noqa: BLE001 (the engine raises what it likes)
            raise GatekeeperError(_first(error)) from None
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            self._local.engine = None  # it panicked: what it holds cannot be trusted
            raise GatekeeperError(f"the Rego engine gave up: {_first(error)}") from None
        listed = orjson.loads(found) if found else []
        return [v for v in _members(listed) if isinstance(v, dict)]

    def _engine(self) -> Any:
        made = getattr(self._local, "engine", None)
        if made is None:
            made = self._local.engine = self._compiled()
        return made

    def _compiled(self) -> Any:
        import regorus

        try:
            engine: Any = regorus.Engine()  # pyright: ignore[reportAttributeAccessIssue]
            engine.set_policy_length_config(max_col=_LONGEST_LINE, max_file_bytes=_MOST_BYTES, max_lines=100_000)
            engine.set_rego_v0(not self.v1)
            for name, count, implementation in BUILTINS:
                engine.add_extension(name, count, implementation)
            for number, text in enumerate(self.libraries):
                engine.add_policy(f"library{number}.rego", adapted(text))
            engine.add_policy("template.rego", adapted(self.source))
        except Exception as error:  # noqa: BLE001
            raise GatekeeperError(f"the Rego cannot be compiled: {_first(error)}") from None
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise GatekeeperError(f"the Rego engine gave up: {_first(error)}") from None
        return engine


def _members(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return list(value.get("__set__", ())) if "__set__" in value else []
    return []


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith("error:")), lines[0] if lines else type(error).__name__)
    return told.removeprefix("error:").strip()[:400]
