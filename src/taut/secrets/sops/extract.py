"""One value out of a plain document, named as sops names it: `["a"]["b"][0]`."""

from __future__ import annotations

import json
import re
from typing import Any

from taut.documents.yaml import dump, load_documents
from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.files import Format, ini_lines

_PATH = re.compile(r"""(?:\[(?:"[^"]*"|'[^']*'|\d{1,9})\])+""")
_STEP = re.compile(r"""\[(?:"([^"]*)"|'([^']*)'|(\d+))\]""")


def extract(text: bytes, form: Format, path: str) -> bytes:
    """A text as it is; anything else as YAML, or JSON for a JSON file. Raises SopsError, which never holds a value."""
    steps = _steps(path)
    value = _document(text, form)
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            raise SopsError(f"there is nothing at {path}: {json.dumps(step)} is not in it") from None
    if isinstance(value, str):
        return value.encode()
    if form is Format.JSON:
        return (json.dumps(value, indent="\t", ensure_ascii=False) + "\n").encode()
    return dump(value).encode()


def _steps(path: str) -> list[str | int]:
    if not _PATH.fullmatch(path):
        raise SopsError(f"{path!r} names no value", advice="""write it as '["a"]["b"][0]'""")
    return [int(m[3]) if m[3] else m[1] or m[2] or "" for m in _STEP.finditer(path)]


def _document(text: bytes, form: Format) -> Any:
    match form:
        case Format.YAML | Format.JSON:
            documents = load_documents(text)
            return documents[0].body if documents else None
        case Format.DOTENV:
            lines = [line.partition("=") for line in text.decode().splitlines() if not line.startswith("#")]
            return {key: value.replace("\\n", "\n") for key, equals, value in lines if equals}
        case Format.INI:
            found: dict[str, dict[str, str]] = {}
            for key, section, value in ini_lines(text.decode())[0]:
                if key not in {"[", ";"}:
                    found.setdefault(section, {})[key] = value
            return found
        case Format.BINARY:
            raise SopsError("a binary file has no values in it")
