"""Go templates of strangers: what they give, what they may not, and that no error tells a value."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.external import go_templates
from taut.model.errors import RenderError
from taut.prison.limits import Limits
from taut.render.templates import GoTemplates

pytestmark = pytest.mark.integration


@pytest.fixture
async def engine() -> AsyncIterator[GoTemplates]:
    async with go_templates() as made:
        yield made


DATA = {"user": b"shop", "password": b"canary-1", "bin": b"\x00\xff\x01", "json": b'{"a": {"b": 2}}', "x.y": b"dotted"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{ .user }}:{{ .password }}", b"shop:canary-1"),
        ("{{ .user | upper | quote }}", b'"SHOP"'),
        ("{{ .bin }}", b"\x00\xff\x01"),
        ("{{ .bin | b64enc }}", b"AP8B"),
        ("{{ (.json | fromJson).a.b }}", b"2"),
        ('{{ index . "x.y" }}', b"dotted"),
        ("{{ range $k, $v := . }}{{ $k }} {{ end }}", b"bin json password user x.y "),
        ("{{ with .user }}{{ . }}{{ end }}\n\n", b"shop\n\n"),
        ("plain", b"plain"),
        ("", b""),
        ('{{ regexReplaceAll "^(s)(?P<rest>.*)$" .user "${rest}-$1" }}', b"hop-s"),
        ('{{ "{{ not a template" }}', b"{{ not a template"),
        ("{{/* nothing */ -}} \n x", b"x"),
    ],
)
async def test_what_they_give(engine: GoTemplates, text: str, wanted: bytes) -> None:
    assert await engine.render([(text, 0)], [DATA]) == [wanted]


async def test_many_with_data_of_their_own(engine: GoTemplates) -> None:
    items = [("{{ .v }}-{{ .m.x }}", n % 3) for n in range(300)]
    data = [{"v": str(n).encode(), "m": {"x": b"\xfe"}} for n in range(3)]
    assert await engine.render(items, data) == [f"{n % 3}-".encode() + b"\xfe" for n in range(300)]


async def test_one_cannot_change_what_the_next_one_sees(engine: GoTemplates) -> None:
    made = await engine.render([('{{ $_ := set . "user" "other" }}{{ .user }}', 0), ("{{ .user }}", 0)], [DATA])
    assert made == [b"other", b"shop"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ .nothing }}", "there is no key nothing in line 1"),
        ("\n\n{{ $.nothing }}", "there is no key nothing in line 3"),
        ("{{ (.json | fromJson).b }}", "there is no key b"),
        ("{{ .user", "it cannot be read in line 1: unclosed action"),
        ("{{ if }}{{ end }}", "it cannot be read in line 1: missing value for if"),
        ('{{ env "HOME" }}', 'function "env" not defined'),
        ('{{ expandenv "$HOME" }}', 'function "expandenv" not defined'),
        ("{{ pkcs12key .bin }}", 'function "pkcs12key" not defined'),
        ("{{ fail .password }}", "it cannot be run"),
        ("{{ .password | mustFromJson }}", "the function mustFromJson fails in line 1"),
        ("{{ mustRegexMatch .password .user | fail }}", "it cannot be run"),
        ("{{ index (list) 1 }}", "the function index fails"),
        ("{{ .user.inner }}", "it cannot be run in line 1"),
        ('{{ tpl .password . }}{{ tpl (printf "{{ fail %q }}" .password) . }}', "the function|it cannot"),
        ("<no value>", "the text `<no value>`"),
    ],
)
async def test_what_fails_says_why_and_which_one_and_no_value(engine: GoTemplates, text: str, reason: str) -> None:
    for before, after in ((0, 0), (2, 3), (5, 0)):
        items = [("{{ .user }}", 0)] * before + [(text, 0)] + [("{{ .user }}", 0)] * after
        with pytest.raises(RenderError, match=reason) as caught:
            await engine.render(items, [DATA])
        assert "canary" not in str(caught.value)
        if "<no value>" not in text:
            assert caught.value.where.field == str(before)
    assert await engine.render([("{{ .user }}", 0)], [DATA]) == [b"shop"]


@pytest.mark.parametrize(
    "text",
    [
        '{{ fail (printf `map has no entry for key "%s"` .password) }}',
        '{{ fail (printf `template: gotpl:1: function "%s" not defined` .word) }}',
        "{{ fail (printf `error calling %s:` .word) }}",
        '{{ fail (printf `error calling tpl: cannot parse template "x": template: gotpl:1: %s` .password) }}',
        '{{ fail (printf "template: gotpl:%s" .pin) }}',
        '{{ tpl (printf "{{ .%s }}" .word) . }}',
        '{{ tpl (printf "{{ %s }}" .word) . }}',
        '{{ tpl (printf "{{ %s" .password) . }}',
        '{{ tpl (printf "{{ define %q }}" .password) . }}',
        "{{ required .password nil }}",
        "{{ include .password . }}",
        "{{ semver .password }}",
        '{{ index . .password "x" }}',
        "{{ (dict .word (dict)).x.y }}",
        '{{ mustRegexMatch (printf "(%s" .password) "x" }}',
        '{{ regexReplaceAll (printf "(%s" .password) "x" "y" }}',
        "{{ fail (.password | fromYaml).Error }}",
        "{{ slice .password 99 }}",
    ],
)
async def test_a_template_cannot_have_a_value_told(engine: GoTemplates, text: str) -> None:
    data = {"password": b"canary-1", "word": b"canary", "pin": b"31415"}
    with pytest.raises(RenderError) as caught:
        await engine.render([(text, 0)], [data])
    said = f"{caught.value} {caught.value.where!r} {caught.value.advice}"
    assert "canary" not in said
    assert "31415" not in said


@pytest.mark.parametrize(
    "text",
    [
        '{{ getHostByName "localhost" }}',
        '{{ lookup "v1" "Secret" "kube-system" "" }}',
        "{{ .Files }}",
        "{{ .Release.Name }}",
    ],
)
async def test_nothing_of_elsewhere_is_seen(engine: GoTemplates, text: str) -> None:
    try:
        (made,) = await engine.render([(text, 0)], [DATA])
    except RenderError as error:
        made = error.what.encode()
    assert made in {b"", b"map[]", b"there is no key Files in line 1", b"there is no key Release in line 1"}


@pytest.mark.parametrize(
    "text",
    [
        "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}",
        '{{ repeat 2000000000 "x" }}',
        '{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}',
        "{{ range until 1000000 }}0123456789{{ end }}",
    ],
)
async def test_what_does_not_end_is_ended(text: str) -> None:
    async with go_templates(Limits(wall_seconds=3, cpu_seconds=10, memory_mb=512, output_bytes=2**20)) as engine:
        with pytest.raises(RenderError):
            await engine.render([(text, 0)], [DATA])
        assert await engine.render([("{{ .user }}", 0)], [DATA]) == [b"shop"]
