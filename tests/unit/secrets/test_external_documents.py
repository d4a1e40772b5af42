"""Documents of External Secrets: read to the field, and refused with file, line, object and field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.external import a_store, external, manifest
from taut.model.errors import BadInput, Where
from taut.secrets.external.documents import cluster_external_secret, external_secret, is_external
from taut.secrets.external.refresh import due
from taut.secrets.external.selecting import expand, may_use
from taut.secrets.external.stores import store

WHOLE = """# a comment
apiVersion: external-secrets.io/{version}
kind: ExternalSecret
metadata: {{name: db, namespace: shop, labels: {{team: a}}, uid: u-1}}
spec:
  refreshInterval: 1h30m
  refreshPolicy: Periodic
  secretStoreRef: {{name: vault, kind: ClusterSecretStore}}
  target:
    name: database
    creationPolicy: Owner
    deletionPolicy: Delete
    immutable: true
    template:
      type: kubernetes.io/basic-auth
      engineVersion: v2
      mergePolicy: Merge
      metadata: {{labels: {{a: b}}, annotations: {{c: d}}}}
      data: {{url: "{{{{ .a }}}}"}}
      templateFrom:
        - target: Labels
          configMap: {{name: t, items: [{{key: k, templateAs: KeysAndValues}}]}}
        - literal: "x: y"
  data:
    - secretKey: password
      remoteRef: {{key: shop/db, property: password, version: "2", decodingStrategy: Base64, conversionStrategy: Unicode, metadataPolicy: Fetch}}
      sourceRef: {{storeRef: {{name: other}}}}
  dataFrom:
    - extract: {{key: shop/all}}
    - find: {{path: shop, name: {{regexp: "^db"}}, conversionStrategy: Default, decodingStrategy: Auto}}
      rewrite:
        - regexp: {{source: a, target: b}}
        - transform: {{template: "{{{{ .value }}}}"}}
        - merge: {{strategy: JSON, into: all, priority: [x], conflictPolicy: Ignore}}
    - find: {{tags: {{team: a}}}}
"""
MINIMAL = "secretStoreRef: {name: main}\ndata: [{secretKey: a, remoteRef: {key: k}}]\n"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_every_field(version: str) -> None:
    found = external_secret(manifest(WHOLE.format(version=version)))
    spec = found.spec
    assert (found.namespace, found.name, found.target, found.uid) == ("shop", "db", "database", "u-1")
    assert (found.refresh_seconds, found.where.line, found.api_version) == (5400, 2, f"external-secrets.io/{version}")
    assert (spec.target.deletion_policy, spec.target.immutable, spec.secret_store_ref.kind) == ("Delete", True, "ClusterSecretStore")  # fmt: skip
    template = spec.target.template
    assert template is not None
    assert (template.type, template.merge_policy, template.data) == ("kubernetes.io/basic-auth", "Merge", {"url": "{{ .a }}"})  # fmt: skip
    one, two = template.template_from
    assert one.config_map is not None
    assert (one.target, one.config_map.items[0].template_as, two.literal, two.target) == ("Labels", "KeysAndValues", "x: y", "Data")  # fmt: skip
    ref = spec.data[0].remote_ref
    assert (ref.property, ref.version, ref.decoding_strategy, ref.conversion_strategy, ref.metadata_policy) == ("password", "2", "Base64", "Unicode", "Fetch")  # fmt: skip
    source = spec.data[0].source_ref
    assert source is not None
    assert source.store_ref is not None
    assert source.store_ref.name == "other"
    find = spec.data_from[1].find
    assert find is not None
    assert find.name is not None
    assert (find.path, find.name.regexp, find.decoding_strategy) == ("shop", "^db", "Auto")
    steps = spec.data_from[1].rewrite
    assert [s.regexp is not None for s in steps] == [True, False, False]
    assert steps[2].merge is not None
    assert (steps[2].merge.into, steps[2].merge.priority, steps[2].merge.conflict_policy) == ("all", ("x",), "Ignore")
    assert spec.data_from[2].find is not None
    assert spec.data_from[2].find.tags == {"team": "a"}


def test_what_is_left_out_is_as_the_operator_has_it() -> None:
    found = external(MINIMAL)
    target = found.spec.target
    assert (found.target, found.refresh_seconds, target.creation_policy, target.deletion_policy) == ("db", 3600, "Owner", "Retain")  # fmt: skip
    assert external("refreshInterval: 0\n" + MINIMAL).refresh_seconds == 0
    assert (
        external(MINIMAL + "target: {name: null, template: {metadata: {labels: null}}}\ndataFrom: null").target == "db"
    )


@pytest.mark.parametrize(
    ("spec", "field", "what"),
    [
        ("secretStoreRef: {name: main}", "spec", "neither data nor dataFrom"),
        ("data: [{secretKey: a, remoteRef: {key: k}}]", "spec.data[0]", "no store is named"),
        (MINIMAL + "targett: {}", "spec", "there is no field targett"),
        (MINIMAL + "target: {creationPolicy: Own}", "spec.target.creationPolicy", "invalid enum value"),
        (MINIMAL + "target: {template: {engineVersion: v1}}", "spec.target.template.engineVersion", "invalid enum"),
        (MINIMAL + "target: {manifest: {kind: ConfigMap}}", "spec.target", "no field manifest"),
        (MINIMAL + "target: {name: [a]}", "spec.target.name", "expected `str`"),
        (MINIMAL + "refreshInterval: soon", "spec.refreshInterval", "no duration"),
        (MINIMAL + "refreshInterval: -1h", "spec.refreshInterval", "negative"),
        (MINIMAL + "target: {deletionPolicy: Delete, creationPolicy: Orphan}", "spec.target.deletionPolicy", "needs creationPolicy Owner"),
        (MINIMAL + "target: {deletionPolicy: Merge, creationPolicy: None}", "spec.target.deletionPolicy", "makes none"),
        (MINIMAL + "target: {template: {templateFrom: [{}]}}", "spec.target.template.templateFrom[0]", "exactly one"),
        ("secretStoreRef: {name: m}\ndata: [{secretKey: a, remoteRef: {}}]", "spec.data[0].remoteRef", "the field key is missing"),
        ("dataFrom: [{sourceRef: {generatorRef: {kind: Password}}}]", "spec.dataFrom[0].sourceRef.generatorRef", "generators are not"),
        ("secretStoreRef: {name: m}\ndataFrom: [{}]", "spec.dataFrom[0]", "exactly one of extract and find"),
        ("secretStoreRef: {name: m}\ndataFrom: [{extract: {key: a}, find: {tags: {}}}]", "spec.dataFrom[0]", "exactly one"),
        ("secretStoreRef: {name: m}\ndataFrom: [{find: {path: a}}]", "spec.dataFrom[0].find", "name or tags"),
        ("secretStoreRef: {name: m}\ndataFrom: [{extract: {key: a}, rewrite: [{}]}]", "spec.dataFrom[0].rewrite[0]", "exactly one"),
        ("secretStoreRef: {name: m}\ndataFrom: [{extract: {key: a}, rewrite: [{merge: {strategy: JSON}}]}]", "spec.dataFrom[0].rewrite[0].merge.into", "needs `into`"),
        ("[]", "spec", "expected `object`"),
        ("null", "spec", "spec is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(spec: str, field: str, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        external(spec) if spec != "null" else external_secret(
            manifest(WHOLE.format(version="v1").partition("spec:")[0])
        )
    assert what in caught.value.what
    where = caught.value.where
    assert (where.file, where.field) == ("apps/secrets.yaml", field)
    assert "shop/db" in where.object
    assert where.line


def test_another_version_or_no_name() -> None:
    with pytest.raises(BadInput, match="v1alpha1 is not read"):
        external_secret(manifest(WHOLE.format(version="v1alpha1")))
    with pytest.raises(BadInput, match=r"metadata\.name: it has no name"):
        external_secret(manifest(WHOLE.format(version="v1").replace("name: db, ", "")))
    assert is_external(manifest(WHOLE.format(version="v1")))
    assert not is_external(manifest(WHOLE.format(version="v1alpha1")))


CLUSTER = """apiVersion: external-secrets.io/v1
kind: ClusterExternalSecret
metadata: {{name: registry}}
spec:
  externalSecretName: pull
  externalSecretMetadata: {{labels: {{a: b}}, annotations: {{c: d}}}}
  refreshTime: 1m
  externalSecretSpec: {{secretStoreRef: {{name: main}}, data: [{{secretKey: a, remoteRef: {{key: k}}}}]}}
  {choice}
"""


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}


NAMESPACES = [
    namespace("a", team="x"),
    namespace("b", team="y", tier="web"),
    namespace("c"),
    {"metadata": {"name": "going", "labels": {"team": "x"}, "deletionTimestamp": "2026-01-01T00:00:00Z"}},
]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("namespaces: [c, elsewhere, going]", "c"),
        ("namespaceSelector: {matchLabels: {team: x}}", "a"),
        ("namespaceSelectors: [{matchLabels: {team: x}}, {matchLabels: {tier: web}}]", "ab"),
        ("namespaceSelectors: [{}]", "abc"),
        ("namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [x, z]}]}", "a"),
        ("namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [x]}]}", "bc"),
        ("namespaceSelector: {matchExpressions: [{key: team, operator: Exists}, {key: tier, operator: DoesNotExist}]}", "a"),
        ("namespaceSelector: {matchLabels: {team: x}}\n  namespaces: [c]", "ac"),
        ("namespaces: []", ""),
    ],
)  # fmt: skip
def test_a_cluster_wide_one_goes_to_the_namespaces_that_are_chosen(choice: str, names: str) -> None:
    made = list(expand(cluster_external_secret(manifest(CLUSTER.format(choice=choice))), NAMESPACES))
    assert [m.namespace for m in made] == list(names)
    for one in made:
        assert (one.name, one.labels, one.annotations, one.origin) == ("pull", {"a": "b"}, {"c": "d"}, "registry")


@pytest.mark.parametrize(
    "choice",
    [
        "namespaceSelector: {matchExpressions: [{key: team, operator: Like}]}",
        "namespaceSelector: {matchExpressions: [{key: team, operator: In}]}",
        "namespaceSelector: {labels: {a: b}}",
    ],
)
def test_a_selector_that_is_none_selects_nothing_in_silence(choice: str) -> None:
    with pytest.raises(BadInput):
        list(expand(cluster_external_secret(manifest(CLUSTER.format(choice=choice))), NAMESPACES))


@pytest.mark.parametrize(
    ("conditions", "allowed"),
    [
        ([], "abc"),
        ([{"namespaces": ["a"]}], "a"),
        ([{"namespaceRegexes": ["^[bc]$"]}], "bc"),
        ([{"namespaceSelector": {"matchLabels": {"team": "x"}}}], "a"),
        ([{"namespaces": ["c"]}, {"namespaceSelector": {"matchLabels": {"team": "y"}}}], "bc"),
        ([{}], ""),
    ],
)
def test_who_may_use_a_store_of_the_cluster(conditions: list[dict[str, Any]], allowed: str) -> None:
    made = a_store("fake: {data: []}", "ClusterSecretStore", conditions=conditions)
    names = [
        n["metadata"]["name"] for n in NAMESPACES[:3] if may_use(made, n["metadata"]["name"], n["metadata"]["labels"])
    ]
    assert names == list(allowed)


def test_a_store_of_a_namespace_is_its_own() -> None:
    made = a_store("fake: {data: []}", conditions=[{"namespaces": ["other"]}])
    assert may_use(made, "shop", {})
    assert not may_use(made, "other", {})
    bad = a_store("fake: {data: []}", "ClusterSecretStore", conditions=[{"namespaceRegexes": ["("]}])
    with pytest.raises(BadInput, match=r"spec\.conditions\[0\].*cannot be read"):
        may_use(bad, "a", {})


@pytest.mark.parametrize(
    ("provider", "field", "what"),
    [
        ("gcpsm: {projectID: x}", "spec.provider.gcpsm", "the provider gcpsm is not supported"),
        ("{}", "spec.provider", "exactly one provider"),
        ("{fake: {data: []}, aws: {service: SecretsManager, region: r}}", "spec.provider", "exactly one provider"),
        ("vault: {auth: {tokenSecretRef: {name: a}}}", "spec.provider.vault", "the field server is missing"),
        ("vault: {server: 's', auth: {}}", "spec.provider.vault.auth", "exactly one way"),
        ("vault: {server: 's', auth: {iam: {}}}", "spec.provider.vault.auth", "iam or gcp is not supported"),
        ("vault: {server: 's', version: v3}", "spec.provider.vault.version", "invalid enum"),
        ("aws: {service: Other, region: r}", "spec.provider.aws.service", "invalid enum"),
        ("aws: {service: SecretsManager, region: r, auth: {jwt: {}}}", "spec.provider.aws.auth.jwt", "not supported"),
        ("webhook: {url: 'http://x', auth: {ntlm: {}}}", "spec.provider.webhook.auth", "NTLM is not supported"),
        ("kubernetes: {authRef: {name: a}}", "spec.provider.kubernetes.authRef", "not supported"),
        ("kubernetes: {server: {url: 'https://k'}}", "spec.provider.kubernetes.auth", "another cluster needs auth"),
    ],
)
def test_stores_that_cannot_be_asked(provider: str, field: str, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        a_store(provider)
    assert what in caught.value.what
    assert (caught.value.where.field, caught.value.where.file) == (field, "apps/store.yaml")
    with pytest.raises(BadInput, match="is no store"):
        store(manifest(WHOLE.format(version="v1")))


def test_values_of_a_document_show_in_no_repr() -> None:
    assert "canary" not in repr(a_store("fake: {data: [{key: a, value: canary}]}"))


@pytest.mark.parametrize(
    ("policy", "interval", "resolved", "changed", "exists", "wanted"),
    [
        ("Periodic", "1h", None, False, False, 0.0),
        ("Periodic", "1h", 100.0, False, True, 3700.0),
        ("Periodic", "1h", 100.0, True, True, 0.0),
        ("Periodic", "1h", 100.0, False, False, 0.0),
        ("Periodic", "0", 100.0, False, True, None),
        ("OnChange", "1h", 100.0, False, True, None),
        ("OnChange", "1h", 100.0, True, True, 0.0),
        ("CreatedOnce", "1h", 100.0, True, True, None),
        ("CreatedOnce", "1h", None, True, True, None),
        ("CreatedOnce", "1h", None, False, False, 0.0),
        ("CreatedOnce", "1h", 100.0, False, False, 0.0),
    ],
)
def test_when_it_is_due(
    policy: str, interval: str, resolved: float | None, changed: bool, exists: bool, wanted: float | None
) -> None:
    made = external(f'refreshPolicy: {policy}\nrefreshInterval: "{interval}"\n{MINIMAL}')
    assert due(made, resolved_at=resolved, changed=changed, exists=exists) == wanted


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("Merge"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["key", "name", "data", "find", "x"]), inner, max_size=2),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_document_is_read_or_refused_with_its_place(data: st.DataObject) -> None:
    kinds = [WHOLE.format(version="v1"), CLUSTER.format(choice="namespaceSelectors: [{}]"), STORE]
    made = manifest(data.draw(st.sampled_from(kinds)))
    at: Any = made.body["spec"]
    for _ in range(data.draw(st.integers(0, 5))):
        keys = sorted(at) if isinstance(at, dict) else list(range(len(at)))
        inner = [k for k in keys if isinstance(at[k], dict | list) and at[k]]
        if not inner:
            break
        at = at[data.draw(st.sampled_from(inner))]
    at[data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else list(range(len(at)))))] = data.draw(JSON)
    read = {"ExternalSecret": external_secret, "ClusterExternalSecret": cluster_external_secret}.get(made.kind, store)
    where = Where(file="apps/secrets.yaml", field="spec")
    try:
        read(made)
    except BadInput as error:
        where = error.where
    assert where.file == "apps/secrets.yaml"
    assert where.field.startswith("spec")


STORE = """apiVersion: external-secrets.io/v1
kind: ClusterSecretStore
metadata: {name: vault}
spec:
  conditions: [{namespaces: [a], namespaceRegexes: [b], namespaceSelector: {matchLabels: {a: b}}}]
  retrySettings: {maxRetries: 2, retryInterval: 1s}
  provider:
    vault:
      server: https://vault.example
      path: secret
      caProvider: {type: ConfigMap, name: ca, key: c, namespace: d}
      auth: {appRole: {path: approle, roleId: r, secretRef: {name: n, key: k}}}
"""
