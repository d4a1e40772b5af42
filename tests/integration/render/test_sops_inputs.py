"""SOPS files, made by the real program, as inputs of every renderer: opened on their way in, and no value of them is told."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest

from integration.render.conftest import Memory, Plant
from taut.controller.decryption import SopsDecrypter
from taut.controller.sops_keys import SopsKeys
from taut.dialects.config import SopsKeyConfig
from taut.model.application import HelmOptions, HelmParameter, JsonnetOptions, PlainOptions, Source
from taut.model.errors import BadInput, RenderError, TautError
from taut.model.snapshot import Snapshot
from taut.prison.limits import Limits
from taut.render.engine import Rendered, RenderEngine, RenderJob, RenderSource, closure_of
from taut.render.protocols import Decrypter, LockedError, Opened
from taut.secrets.sops.keys import Keyring

PROGRAM = Path(sys.executable).with_name("sops")
PASSWORD = "correct-horse-battery"
SECRET = f"""apiVersion: v1
kind: Secret
metadata:
  name: database
stringData:
  password: {PASSWORD}
"""
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "values.yaml": "password: none\n",
    "templates/secret.yaml": (
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: web\nstringData:\n  password: {{ .Values.password | quote }}\n"
    ),
}

type Sops = Callable[..., bytes]


@pytest.fixture
def age() -> tuple[str, str]:
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


@pytest.fixture
def sops(tmp_path: Path, age: tuple[str, str]) -> Sops:
    """Encrypt a text as a file of that name, for the test's key."""

    def encrypt(text: str, name: str, *options: str, to: str = age[1]) -> bytes:
        folder = tmp_path / "plain"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        done = subprocess.run(
            [str(PROGRAM), "--disable-version-check", "-e", "--age", to, *options, name],
            cwd=folder,
            env={"HOME": str(folder), "PATH": os.environ["PATH"]},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return encrypt


@pytest.fixture
def keys(age: tuple[str, str]) -> SopsDecrypter:
    return SopsDecrypter(Keyring(age=(age[0],)))


def job(snapshot: Snapshot, decrypter: Decrypter | None, path: str = ".", **options: Any) -> RenderJob:
    return RenderJob("app", "ns", (RenderSource(Source(path=path, **options), snapshot),), decrypter=decrypter)


def only(rendered: Rendered, kind: str = "Secret") -> dict[str, Any]:
    found = [m.body for m in rendered.manifests if m.kind == kind]
    assert len(found) == 1
    return found[0]


def value(secret: dict[str, Any], key: str) -> str:
    if key in secret.get("stringData", {}):
        return secret["stringData"][key]
    return base64.b64decode(secret["data"][key]).decode()


class Counting:
    """A decrypter that counts, and opens nothing."""

    calls = 0

    def identity(self, seal: Callable[[bytes], str]) -> str:
        self.calls += 1
        return seal(b"")

    def open(self, data: bytes, path: str) -> Opened | None:
        self.calls += 1
        return None


# Every renderer


async def test_plain_manifests(engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter) -> None:
    files = {
        "a/whole.yaml": sops(SECRET, "whole.yaml"),
        "b/part.yaml": sops(SECRET, "part.yaml", "--encrypted-regex", "^stringData$"),
        "c/object.json": sops(
            '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"j"},"stringData":{"n":"12345678"}}', "o.json"
        ),
        "a/.sops.yaml": "creation_rules:\n  - age: age1x\n",
    }
    snapshot = plant(files)
    for folder in "ab":
        rendered = await engine.render(job(snapshot, keys, folder))
        assert value(only(rendered), "password") == PASSWORD
        assert "sops" not in only(rendered)
        assert rendered.decryption
        assert rendered.warnings == ()
    assert value(only(await engine.render(job(snapshot, keys, "c"))), "n") == "12345678"


async def test_a_kustomization_with_resource_patch_files_and_envs(
    engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter
) -> None:
    patch = SECRET.replace(PASSWORD, "another-long-value")
    snapshot = plant(
        {
            "kustomization.yaml": (
                "resources: [secret.yaml]\npatches:\n  - path: patch.yaml\n"
                "secretGenerator:\n"
                "  - name: made\n    files: [token.txt, app=app.ini]\n    envs: [vars.env]\n"
                "generatorOptions: {disableNameSuffixHash: true}\n"
            ),
            "secret.yaml": sops(SECRET, "secret.yaml", "--encrypted-regex", "^stringData$"),
            "patch.yaml": sops(patch, "patch.yaml", "--encrypted-regex", "^stringData$"),
            "token.txt": sops("a token of\ntwo lines\n", "token.txt"),
            "app.ini": sops("[s]\nkey = value-of-ini\n", "app.ini"),
            "vars.env": sops("API_KEY=k-123456789\n", "vars.env"),
        }
    )
    rendered = await engine.render(job(snapshot, keys))
    found = {m.name: m.body for m in rendered.manifests}
    assert value(found["database"], "password") == "another-long-value"
    assert value(found["made"], "token.txt") == "a token of\ntwo lines\n"
    assert "key = value-of-ini" in value(found["made"], "app")
    assert value(found["made"], "API_KEY") == "k-123456789"
    assert rendered.warnings == ()


async def test_values_files_and_files_of_a_chart(
    engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter
) -> None:
    more = (
        'apiVersion: v1\nkind: Secret\nmetadata: {name: file}\ndata:\n  tls.key: {{ .Files.Get "tls.key" | b64enc }}\n'
    )
    chart = {f"chart/{path}": text for path, text in CHART.items()}
    snapshot = plant(
        {
            **chart,
            "chart/templates/file.yaml": more,
            "chart/tls.key": sops("-----BEGIN-----\nkey\n", "tls.key"),
            "prod.yaml": sops(f"password: {PASSWORD}\n", "prod.yaml"),
            "other.txt": sops("from-a-file-parameter", "other.txt"),
        }
    )
    options = HelmOptions(value_files=("../prod.yaml",))
    rendered = await engine.render(job(snapshot, keys, "chart", helm_options=options))
    found = {m.name: m.body for m in rendered.manifests}
    assert value(found["web"], "password") == PASSWORD
    assert value(found["file"], "tls.key") == "-----BEGIN-----\nkey\n"
    options = HelmOptions(file_parameters=(HelmParameter(name="password", value="../other.txt"),))
    rendered = await engine.render(job(snapshot, keys, "chart", helm_options=options))
    assert value({m.name: m.body for m in rendered.manifests}["web"], "password") == "from-a-file-parameter"


async def test_imports_of_jsonnet(engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter) -> None:
    main = (
        "local s = import 'secret.json';\n"
        "{apiVersion: 'v1', kind: 'Secret', metadata: {name: 'x'}, stringData: {a: s.password, b: importstr 'token'}}\n"
    )
    snapshot = plant(
        {
            "main.jsonnet": main,
            "secret.json": sops(f'{{"password": "{PASSWORD}"}}', "secret.json"),
            "token": sops("the whole token", "token"),
        }
    )
    rendered = await engine.render(job(snapshot, keys, jsonnet=JsonnetOptions()))
    assert only(rendered)["stringData"] == {"a": PASSWORD, "b": "the whole token"}


# Keys


async def test_a_missing_key_is_named_with_the_file_and_what_to_do(
    engine: RenderEngine, plant: Plant, sops: Sops, age: tuple[str, str]
) -> None:
    snapshot = plant({"app/secret.yaml": sops(SECRET, "secret.yaml")})
    for decrypter in (SopsKeys([], {}).of("team"), SopsDecrypter(Keyring())):
        with pytest.raises(LockedError) as caught:
            await engine.render(job(snapshot, decrypter, "app"))
        assert caught.value.where.file == "app/secret.yaml"
        assert age[1] in caught.value.what
        assert caught.value.advice
        closure = closure_of(caught.value)
        assert closure is not None
        assert closure.sources[0].looked() >= {"app/secret.yaml"}


async def test_the_key_of_another_project_is_not_used(
    engine: RenderEngine, plant: Plant, sops: Sops, age: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "age.key").write_text(age[0])
    entries = [SopsKeyConfig(file=str(tmp_path / "age.key"), projects=("team-a",))]
    configured = SopsKeys(entries, {})
    snapshot = plant({"secret.yaml": sops(SECRET, "secret.yaml")})
    one = await engine.render(job(snapshot, configured.of("team-a")))
    assert value(only(one), "password") == PASSWORD
    with pytest.raises(LockedError, match="there is no age key") as caught:
        await engine.render(job(snapshot, configured.of("team-b")))
    assert "'team-b'" in caught.value.advice
    everyone = SopsKeys([SopsKeyConfig(file=str(tmp_path / "age.key"))], {})
    assert value(only(await engine.render(job(snapshot, everyone.of("team-b")))), "password") == PASSWORD


async def test_other_keys_give_another_render_key_and_nothing_else_does(
    plant: Plant, sops: Sops, keys: SopsDecrypter, memory: Memory, engine: RenderEngine, age: tuple[str, str]
) -> None:
    snapshot = plant({"a/secret.yaml": sops(SECRET, "secret.yaml"), "b/plain.yaml": SECRET})
    more = SopsDecrypter(Keyring(age=(age[0], str(pyrage.x25519.Identity.generate()))))
    for folder, same in (("a", False), ("b", True)):
        one = await engine.render(job(snapshot, keys, folder))
        again = await engine.render(job(snapshot, SopsDecrypter(Keyring(age=(age[0],))), folder))
        other = await engine.render(job(snapshot, more, folder))
        assert one.key == again.key
        assert (one.key == other.key) is same
        assert one.closure == other.closure
        assert bool(one.decryption) is not same
    assert age[0] not in one.decryption + again.key
    assert all(PASSWORD.encode() not in closure for closure in (one.closure.to_json(), again.closure.to_json()))


async def test_a_damaged_file_is_refused(engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter) -> None:
    data = sops(SECRET, "secret.yaml", "--encrypted-regex", "^stringData$").replace(b"name: database", b"name: changed")
    with pytest.raises(BadInput, match="MAC") as caught:
        await engine.render(job(plant({"secret.yaml": data}), keys))
    assert caught.value.where.file == "secret.yaml"


async def test_nothing_that_is_still_encrypted_comes_out(
    engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter
) -> None:
    snapshot = plant({"secret.yaml": sops(SECRET, "secret.yaml", "--encrypted-regex", "^stringData$")})
    with pytest.raises(RenderError, match="still encrypted"):
        await engine.render(job(snapshot, None))
    kept = RenderJob("app", "ns", job(snapshot, None).sources, keep_encrypted=True)
    assert "sops" in only(await engine.render(kept))


async def test_a_file_of_a_chart_that_nobody_reads_needs_no_key(
    engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter
) -> None:
    foreign = str(pyrage.x25519.Identity.generate().to_public())
    chart = {**CHART, "values-staging.yaml": sops("password: staging-password\n", "s.yaml", to=foreign)}
    rendered = await engine.render(job(plant(chart), keys))
    assert value(only(rendered), "password") == "none"
    with pytest.raises(LockedError, match="none of the age keys") as caught:
        await engine.render(job(plant(chart), keys, helm_options=HelmOptions(value_files=("values-staging.yaml",))))
    assert caught.value.where.file == "values-staging.yaml"
    for how in (
        "{{ .Files.Get %s | quote }}",
        "{{ .Files.Get %s | b64enc }}",
        '{{ printf "x%%s" (.Files.Get %s) | b64enc }}',
    ):
        read = how % '"values-staging.yaml"'
        chart["templates/reads.yaml"] = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: r}}\ndata: {{a: {read}}}\n"
        with pytest.raises(RenderError, match=r"still encrypted.*values-staging\.yaml"):
            await engine.render(job(plant(chart), keys))


async def test_the_secret_of_an_operator_that_decrypts_in_the_cluster_stays_as_it_is(
    engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter
) -> None:
    text = "apiVersion: isindir.github.com/v1alpha3\nkind: SopsSecret\nmetadata: {name: x}\nspec:\n  secretTemplates:\n    - name: a\n"
    snapshot = plant({"s.yaml": sops(text, "s.yaml", "--encrypted-suffix", "Templates")})
    assert "sops" in only(await engine.render(job(snapshot, keys)), "SopsSecret")


# What is said of values


@pytest.mark.parametrize(
    "template",
    [
        '{{ fail (printf "no connection with %s" .Values.password) }}',
        '{{ fail (printf "no connection with %q" .Values.password) }}',
        "{{ fail (b64enc .Values.password) }}",
        "{{ .Values.password.inner.deep }}",
        "a: {{ .Values.password }}: {{ .Values.password }}: [",
    ],
)
async def test_errors_of_templates_hold_no_value(
    engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter, template: str
) -> None:
    secret = 'hun"ter2 with: words\\nand a second-line'
    chart = {**CHART, "templates/bad.yaml": template, "prod.yaml": sops(f"password: '{secret}'\n", "prod.yaml")}
    with pytest.raises(TautError) as caught:
        await engine.render(job(plant(chart), keys, helm_options=HelmOptions(value_files=("prod.yaml",))))
    error = caught.value
    for text in (error.what, error.advice, str(error), repr(error.args)):
        for part in (secret, "hun", "second-line", base64.b64encode(secret.encode()).decode()[:12]):
            assert part not in text, text
    assert error.__context__ is None


async def test_errors_of_the_other_renderers_hold_no_value(
    engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter
) -> None:
    secret = sops(f"password: {PASSWORD}\n", "s.yaml")
    jsonnet = "local s = importstr 's.yaml';\nerror 'cannot use ' + s\n"
    with pytest.raises(TautError, match="cannot use") as caught:
        await engine.render(
            job(plant({"j/main.jsonnet": jsonnet, "j/s.yaml": secret}), keys, "j", jsonnet=JsonnetOptions())
        )
    assert PASSWORD not in str(caught.value)
    env = sops(f"{PASSWORD}\n", "vars.txt")
    snapshot = plant(
        {"k/kustomization.yaml": "secretGenerator:\n  - name: x\n    envs: [vars.txt]\n", "k/vars.txt": env}
    )
    rendered: str
    try:
        rendered = " ".join((await engine.render(job(snapshot, keys, "k"))).warnings)
    except TautError as error:
        rendered = str(error)
    assert PASSWORD not in rendered
    broken = sops(f"apiVersion: v1\nkind: Secret\nmetadata: {PASSWORD}\n", "b.yaml", "--encrypted-regex", "^metadata$")
    with pytest.raises(TautError) as caught:
        await engine.render(job(plant({"p/b.yaml": broken}), keys, "p"))
    assert PASSWORD not in str(caught.value)


async def test_a_value_in_another_kind_is_warned_of(
    engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter
) -> None:
    chart = {
        **CHART,
        "templates/map.yaml": (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: open}\n"
            "data:\n  url: postgres://user:{{ .Values.password }}@db\n  mode: {{ .Values.mode }}\n"
        ),
        "prod.yaml": sops(f"password: {PASSWORD}\nmode: fast\n", "prod.yaml"),
    }
    rendered = await engine.render(job(plant(chart), keys, helm_options=HelmOptions(value_files=("prod.yaml",))))
    (warning,) = rendered.warnings
    assert warning.startswith("plain value of a SOPS file lands in ConfigMap")
    assert "data.url" in warning
    assert "prod.yaml" in warning
    assert PASSWORD not in warning
    assert {(d.path, d.short) for d in rendered.decrypted if d.object.endswith("open")} == {
        ("data.url", False),
        ("data.mode", True),
    }


# Cost, and where plain texts lie


async def test_inputs_without_the_mark_are_not_looked_at(engine: RenderEngine, plant: Plant) -> None:
    counting = Counting()
    files = {f"plain/{n}.yaml": SECRET.replace("database", f"s{n}") for n in range(20)}
    files |= {f"chart/{path}": text for path, text in CHART.items()}
    files |= {"k/kustomization.yaml": "resources: [s.yaml]\n", "k/s.yaml": SECRET, "j/main.jsonnet": "{}"}
    for folder in ("plain", "chart", "k", "j"):
        await engine.render(job(plant(files), counting, folder))
    assert counting.calls == 0


async def test_a_text_about_sops_is_no_encrypted_file(engine: RenderEngine, plant: Plant, keys: SopsDecrypter) -> None:
    about = "# How\n\nsops:\n  mac: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]\n\tand so on\n"
    inner = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: doc}\n"
        "data:\n  text: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str] is what sops writes\n"
    )
    chart = {**CHART, "README.md": about, "templates/doc.yaml": inner}
    assert len((await engine.render(job(plant(chart), keys))).manifests) == 2


@pytest.fixture
async def open_engine() -> AsyncIterator[RenderEngine]:
    async with RenderEngine(workers=1, secret=b"k" * 32, limits=Limits(wall_seconds=30), namespaces=False) as made:
        yield made


async def test_without_namespaces_plain_texts_lie_in_memory_and_are_removed(
    open_engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter
) -> None:
    snapshot = plant({**CHART, "prod.yaml": sops(f"password: {PASSWORD}\n", "prod.yaml")})
    rendered = await open_engine.render(job(snapshot, keys, helm_options=HelmOptions(value_files=("prod.yaml",))))
    assert value(only(rendered), "password") == PASSWORD
    held = open_engine.held
    assert held is not None
    assert held.in_memory
    work = Path(held.work)
    assert work.is_dir()
    assert work.stat().st_mode & 0o077 == 0
    assert list(work.iterdir()) == []
    await open_engine.close()
    assert not work.exists()


async def test_without_memory_for_them_decrypted_files_are_not_rendered(
    monkeypatch: pytest.MonkeyPatch, open_engine: RenderEngine, plant: Plant, sops: Sops, keys: SopsDecrypter
) -> None:
    monkeypatch.setattr("taut.prison.pool.is_in_memory", lambda _: False)
    files = {f"chart/{path}": text for path, text in CHART.items()}
    snapshot = plant({**files, "prod.yaml": sops(f"password: {PASSWORD}\n", "prod.yaml")})
    assert (await open_engine.render(job(snapshot, keys, "chart"))).manifests
    with pytest.raises(RenderError, match="would lie on a disk"):
        await open_engine.render(job(snapshot, keys, "chart", helm_options=HelmOptions(value_files=("/prod.yaml",))))


async def test_what_is_excluded_is_not_opened(engine: RenderEngine, plant: Plant, sops: Sops) -> None:
    snapshot = plant({"a.yaml": SECRET, "values.enc.yaml": sops("a: b\n", "values.enc.yaml")})
    options = PlainOptions(exclude=("*.enc.yaml",))
    assert (await engine.render(job(snapshot, SopsDecrypter(Keyring()), plain=options))).manifests
