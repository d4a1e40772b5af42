"""Kubernetes' CEL: what expressions give, and what goes wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from taut.policy.cel import CelError, Environment

ENVIRONMENT = Environment(["object", "oldObject", "request", "authorizer"])
OBJECT = {
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {"replicas": 3, "ratio": 0.5, "containers": [{"name": "a", "image": "b:1"}, {"name": "c"}]},
}


def value(expression: str, variables: dict[str, str] | None = None, **data: Any) -> Any:
    data.setdefault("object", OBJECT)
    return ENVIRONMENT.compile(expression, variables).evaluate(ENVIRONMENT.activation(data))


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("object.spec.replicas <= 5", True),
        ("object.metadata.namespace == 'shop'", True),
        ("object.spec.?paused.orValue(false)", False),
        ("object.spec.containers.all(c, has(c.image))", False),
        ("oldObject == null", True),
        ("object.spec.containers.map(c, c.name).join(',')", "a,c"),
        ("{'a': 1}.all(k, v, v == 1)", True),
        ("object.metadata.labels.transformList(k, v, k + v)", ["appweb"]),
        ("quantity('1Gi').isGreaterThan(quantity('1000Mi'))", True),
        ("quantity('1.5').add(quantity('500m')).asInteger()", 2),
        ("quantity('1Gi') == quantity('1024Mi')", True),
        ("isQuantity('1GB')", False),
        ("quantity('1.5').isInteger()", False),
        ("quantity('100m').compareTo(quantity('0.1'))", 0),
        ("semver('1.2.3').isLessThan(semver('1.10.0'))", True),
        ("semver('1.2.3-alpha.1').isLessThan(semver('1.2.3'))", True),
        ("semver('v1.2', true).minor()", 2),
        ("url('https://example.com:80/a/b?x=1').getHost()", "example.com:80"),
        ("url('https://[::1]:80/').getHostname()", "::1"),
        ("url('/a b') == null || true", True),
        ("isURL('../x')", False),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", True),
        ("cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))", True),
        ("cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')", True),
        ("ip('::1').family()", 6),
        ("ip.isCanonical('::0:1')", False),
        ("isIP('127.0.0.1.1')", False),
        ("[1, 2, 3].sum() + [4, 5].max()", 11),
        ("['b', 'a'].isSorted()", False),
        ("[1, 2, 1].lastIndexOf(1)", 2),
        ("'hello'.indexOf('l')", 2),
        ("'hello'.indexOf('l', 3)", 3),
        ("'abc 123 def 456'.findAll('[0-9]+')", ["123", "456"]),
        ("'abc 123'.find('[0-9]+')", "123"),
        ("format.dns1123Label().validate('web').hasValue()", False),
        ("format.dns1123Label().validate('Web!').value().size()", 1),
        ("format.named('dns1123Label').value().validate('x') == optional.none()", True),
        ("format.named('nothing').hasValue()", False),
        ("jsonpatch.escapeKey('a/b~c')", "a~1b~0c"),
        (
            "Object{spec: Object.spec{replicas: 1, selector: {'a': 'b'}}}",
            {"spec": {"replicas": 1, "selector": {"a": "b"}}},
        ),
        ("[JSONPatch{op: 'add', path: '/a', value: Object.x{b: 1}}]", [{"op": "add", "path": "/a", "value": {"b": 1}}]),
        ("'variables.x' + \"Object{a: 1}\" // variables.y\n", "variables.xObject{a: 1}"),
        ("object.metadata.labels['app']", "web"),
    ],
)
def test_values(expression: str, wanted: Any) -> None:
    assert value(expression) == wanted


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("object.spec.missing", "no such key: missing"),
        ("object.spec.containers[5].name", "index out of bounds: 5"),
        ("object.spec.replicas + 'a'", "no such overload"),
        ("1 / (object.spec.replicas - 3)", "division by zero"),
        ("quantity('x')", "quantities must match"),
        ("lists.range(20000).map(x, x).size()", "budget"),
        ("authorizer.group('apps').resource('x').check('get').allowed()", "only to the API server"),
        ("object.spec.?missing", "optional"),
        ("[].max()", "max called on empty list"),
        ("nothing + 1", "undeclared reference to 'nothing'"),
        ("1 +", "Syntax error"),
        ("variables.x", "undefined field 'x'"),
    ],
)
def test_errors_are_in_the_words_that_people_know(expression: str, message: str) -> None:
    from taut.policy.cel.authorizer import VALUE

    with pytest.raises(CelError, match=message):
        value(expression, authorizer=VALUE)


def test_variables_are_evaluated_where_they_are_used() -> None:
    variables = {
        "names": "object.spec.containers.map(c, c.name)",
        "bad": "object.spec.missing",
        "both": "variables.names + ['x']",
    }
    assert value("variables.both.size()", variables) == 3
    assert value("true || variables.bad == 1", variables) is True
    assert value("variables.?names.orValue([]).size()", variables) == 2
    with pytest.raises(CelError, match="no such key: missing"):
        value("variables.bad == 1", variables)
    with pytest.raises(CelError, match="undefined field 'later'"):
        value("variables.a", {"a": "variables.later", "later": "1"})


def test_a_field_of_that_name_is_no_variable() -> None:
    assert value("object.variables.x", object={"variables": {"x": 1}}) == 1


@pytest.mark.parametrize(
    "text", ["(" * 5000, "[" * 3000 + "]" * 3000, "a" * 200_000, "'" * 999, "object" + ".a" * 5000]
)
def test_hostile_expressions_are_refused(text: str) -> None:
    with pytest.raises(CelError):
        value(text)
