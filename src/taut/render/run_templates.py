"""Go templates, inside the prison: single texts, run through the Helm library's engine. What they see may be secret, so no error of the
engine leaves here as it is: `fail .password` would tell it.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import helm_python as helm
from helm_python import _native as native  # pyright: ignore[reportPrivateUsage] (as in run_helm)
from helm_python.errors import HelmError

from taut.model.errors import RenderError, Where
from taut.render.wire import OutDocument, Reply, TemplatesTask

_CHART = "apiVersion: v2\nname: templates\nversion: 1.0.0\n"
# Values travel in base64, because JSON cannot hold all bytes. Each template gets a copy: `set` must not reach the next one.
_RUN = """\
{{- $all := list -}}
{{- range .Values.data -}}
{{- $one := dict -}}
{{- range $k, $v := . -}}
{{- if kindIs "map" $v -}}
{{- $inner := dict -}}
{{- range $a, $b := $v -}}{{- $_ := set $inner $a (b64dec $b) -}}{{- end -}}
{{- $_ := set $one $k $inner -}}
{{- else -}}
{{- $_ := set $one $k (b64dec $v) -}}
{{- end -}}
{{- end -}}
{{- $all = append $all $one -}}
{{- end -}}
{{- range .Values.items -}}
{{ tpl (b64dec (index . 0)) (deepCopy (index $all (int (index . 1)))) | b64enc }}
{{ end -}}
"""
_SWALLOWED = b"<no value>"
_PLACE = re.compile(r"template: gotpl:(\d+)")
_MISSING_KEY = re.compile(r'map has no entry for key "([^"\\]{1,253})"$')
_UNKNOWN = re.compile(r'function "(\w+)" not defined$')
_CALLED = re.compile(r"error calling (\w+):")
_RUNNING, _UNREADABLE = "error calling tpl: ", "cannot parse template "


def run(task: TemplatesTask, root: Path) -> Reply:
    """What each template gives, as bytes. Raises RenderError whose field is the number of the one that fails."""
    _refuse_swallowed(task)
    (root / "templates").mkdir()
    (root / "Chart.yaml").write_text(_CHART)
    (root / "templates/out").write_text(_RUN)
    data = [{k: _sent(v) for k, v in one.items()} for one in task.data]
    with helm.Chart.load(root) as chart:
        try:
            return Reply(documents=[OutDocument("", 0, made) for made in _made(chart, task.items, data)])
        except HelmError as error:
            number, reason = _first_failing(chart, task.items, data, error)
            raise RenderError(reason, where=Where(field=str(number))) from None


def _sent(value: bytes | dict[str, bytes]) -> Any:
    if isinstance(value, dict):
        return {k: base64.b64encode(v).decode() for k, v in value.items()}
    return base64.b64encode(value).decode()


def _made(chart: Any, items: tuple[tuple[str, int], ...], data: list[Any]) -> list[bytes]:
    values = {"data": data, "items": [[base64.b64encode(text.encode()).decode(), of] for text, of in items]}
    options = {"name": "templates", "namespace": "default", "revision": 1, "is_install": True, "strict": True}
    text = native.call_string("helm_render", chart._raw(), json.dumps(values), json.dumps(options))
    lines = json.loads(text)["templates/templates/out"].split("\n")[: len(items)]
    return [base64.b64decode(line) for line in lines]


def _refuse_swallowed(task: TemplatesTask) -> None:
    """Helm's engine removes this text from every result; a value that holds it would be changed in silence."""
    values = [
        v for one in task.data for part in one.values() for v in (part.values() if isinstance(part, dict) else [part])
    ]
    if any(_SWALLOWED in v for v in values) or any(_SWALLOWED.decode() in text for text, _ in task.items):
        raise RenderError(
            "a template, or a value that it sees, holds the text `<no value>`, which templates cannot carry"
        )


def _first_failing(
    chart: Any, items: tuple[tuple[str, int], ...], data: list[Any], error: HelmError
) -> tuple[int, str]:
    """Which template fails, found by halves: the engine does not say."""
    low, high = 0, len(items)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _made(chart, items[low:middle], data)
        except HelmError as nearer:
            high, error = middle, nearer
        else:
            low = middle
    if len(items) > 1:
        try:
            _made(chart, items[low:high], data)
        except HelmError as nearer:
            error = nearer
    text = items[low][0]
    return low, _unreadable(chart, text) or _reason(error.detail, text)


def _unreadable(chart: Any, text: str) -> str:
    """Why a template cannot be parsed, in the parser's words; empty when it can. It is run without data: so no value can be in these words,
    whatever the template does.
    """
    try:
        _made(chart, ((text, 0),), [{}])
    except HelmError as error:
        said = error.detail.partition(_RUNNING)[2]
        place = _PLACE.search(said)
        if not said.startswith(_UNREADABLE) or not place:
            return ""
        line = f" in line {place[1]}"
        why = said[place.end() :].strip().removeprefix(":").strip()
        if (unknown := _UNKNOWN.search(why)) is not None:
            return f'function "{unknown[1]}" not defined{line}'
        return f"it cannot be read{line}: {why[:300]}"
    return ""


def _reason(detail: str, text: str) -> str:
    """What may be told of a failed run. A template can put a value into what the engine says, so only names that stand in its own text are told."""
    words = set(re.findall(r"[\w.-]+", text))
    lines = [int(n) for n in _PLACE.findall(detail) if len(n) < 6 and int(n) <= text.count("\n") + 1]
    line = f" in line {lines[-1]}" if lines else ""
    missing = _MISSING_KEY.search(detail.rstrip())
    if missing and any(missing[1] in word.split(".") for word in words):
        return f"there is no key {missing[1]}{line}"
    called = [name for name in _CALLED.findall(detail) if name != "tpl" and name in words]
    return f"the function {called[-1]} fails{line}" if called else f"it cannot be run{line}"
