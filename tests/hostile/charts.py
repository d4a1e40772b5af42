"""Attacks by charts and by Jsonnet."""

from __future__ import annotations

import tarfile

from hostile.attack import CHART, Attack, chart, config_map, jsonnet, packed

UP = "../" * 8
PRISON = "the render's own folder: nothing else is there"
NO_FUNCTION = "Helm has no such function"
NO_CLUSTER = "a render has no cluster, no network and no environment"
LIMITS = "limits of time, memory and output"
NOT_LISTED = "comes from a place the project does not list"


def dependency(
    name: str, what: str, repository: str, says: str, *, stops: str, stage: str, place: str = "Chart.yaml"
) -> Attack:
    """A chart that depends on one elsewhere."""
    text = CHART + f"dependencies: [{{name: other, version: 1.0.0, repository: '{repository}'}}]\n"
    return chart(
        name, what, "{state: good}", stops=stops, says=says, stage=stage, place=place, files={"Chart.yaml": text}
    )


def archive(name: str, what: str, kind: bytes, member: str, target: str, says: str) -> Attack:
    """A packed dependency that holds something else than files."""
    data = packed(
        ("other/Chart.yaml", tarfile.REGTYPE, CHART.replace("chart", "other")),
        (member, kind, target),
        ("other/templates/x.yaml", tarfile.REGTYPE, ""),
    )
    text = CHART + "dependencies: [{name: other, version: 1.0.0}]\n"
    template = '{state: good, secret: "{{ .Files.Get "secret" }}{{ .Files.Get "charts/other/secret" }}"}'
    gives = None if says else {"state": "good", "secret": ""}
    stops = "Helm takes plain files inside the chart's folder only"
    return chart(
        name,
        what,
        template,
        stops=stops,
        says=says,
        gives=gives,
        files={"Chart.yaml": text, "charts/other-1.0.0.tgz": data},
    )


ATTACKS: list[Attack] = [
    chart("h-values-up", "a values file above the repository", "{state: good}", stops="references stay in the repository", says="leaves the repository", source={"helmOptions": {"valueFiles": [f"{UP}etc/passwd"]}}, short=True),
    chart("h-values-url", "a values file elsewhere", "{state: good}", stops="values files are files", says="is not fetched", source={"helmOptions": {"valueFiles": ["@CANARY@/values.yaml"]}}),
    chart("h-file-parameter", "a parameter from a file of the machine", "{state: good}", stops="an absolute path begins at the repository's top", says="does not exist", source={"helmOptions": {"fileParameters": [{"name": "a", "value": "@OUTSIDE@/secret"}]}}, place="secret"),
    chart("h-files", "files of the machine by .Files.Get", '{a: "{{ .Files.Get "/etc/passwd" }}{{ .Files.Get "@OUTSIDE@/secret" }}{{ .Files.Get "../../../../etc/passwd" }}"}', stops=PRISON, gives={"a": ""}, short=True),
    chart("h-env", "the environment by env", '{a: "{{ env "TAUT_CANARY" }}"}', stops=NO_FUNCTION, says='function "env" not defined', short=True),
    chart("h-expandenv", "the environment by expandenv", '{a: "{{ expandenv "$TAUT_CANARY" }}"}', stops=NO_FUNCTION, says='function "expandenv" not defined'),
    chart("h-lookup", "Secrets of the cluster by lookup", '{a: "{{ lookup "v1" "Secret" "kube-system" "" }}"}', stops=NO_CLUSTER, gives={"a": "map[]"}, short=True),
    chart("h-dns", "a question to the name server", '{a: "{{ getHostByName "localhost" }}"}', stops=NO_CLUSTER, gives={"a": ""}),
    chart("h-loop", "a loop without end", "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}\n" + config_map("h-loop"), stops=LIMITS, says="and was stopped", slow=True, short=True),
    chart("h-until", "a list of a thousand million", "{a: {{ until 1000000000 | len }}}", stops=LIMITS, says="and was stopped", slow=True),
    chart("h-recursion", "a template that includes itself", '{{ define "x" }}{{ include "x" . }}{{ end }}{{ include "x" . }}\n' + config_map("h-recursion"), stops="Helm itself", says="error calling include"),
    chart("h-repeat", "text that doubles", '{{ $x := "xxxxxxxxxxxxxxxx" }}{{ range until 40 }}{{ $x = printf "%s%s" $x $x }}{{ end }}a: {{ $x }}\n' + config_map("h-repeat"), stops=LIMITS, says="and was stopped", slow=True),
    chart("h-output", "more output than anybody reads", '{a: {{ repeat 90000000 "x" }}}', stops=LIMITS, says="and was stopped", slow=True),
    chart("h-name", "a chart whose name is a path", "{state: good}", stops="Helm itself", says="invalid", files={"Chart.yaml": CHART.replace("name: chart", "name: ../../chart")}),
    chart("h-schema-remote", "a schema elsewhere", "{state: good}", stops=NO_CLUSTER, says="values don't meet the specifications of the schema", files={"values.schema.json": '{"$ref": "@CANARY@/schema.json"}'}),
    chart("h-schema-file", "a file of the machine as a schema", "{state: good}", stops=PRISON, says="values don't meet the specifications of the schema", files={"values.schema.json": '{"$ref": "file:///etc/passwd"}'}),
    dependency("h-dependency-up", "a dependency above the repository", f"file://{UP}etc", "the dependency other leaves the repository", stops="references stay in the repository", stage="render"),
    dependency("h-dependency-host", "a dependency on a host that is not listed", "@CANARY@", NOT_LISTED, stops="only addresses that the project lists are fetched", stage="source", place="127.0.0.1"),
    dependency("h-dependency-oci", "a dependency in a registry that is not listed", "oci://@HOST@/x", NOT_LISTED, stops="only addresses that the project lists are fetched", stage="source", place="127.0.0.1"),
    dependency("h-dependency-program", "a dependency behind Git's ext transport", "ext::touch @OUTSIDE@/pwned", NOT_LISTED, stops="only addresses that the project lists are fetched", stage="source", place="ext"),
    archive("h-tgz-up", "a packed dependency with a file above its folder", tarfile.REGTYPE, "other/../../../escaped", "x", "chart illegally references parent directory"),
    archive("h-tgz-absolute", "a packed dependency with an absolute path", tarfile.REGTYPE, "/@OUTSIDE@/pwned", "x", ""),
    archive("h-tgz-link", "a packed dependency with a symbolic link", tarfile.SYMTYPE, "other/secret", "/etc/passwd", ""),
    archive("h-tgz-hard-link", "a packed dependency with a hard link", tarfile.LNKTYPE, "other/secret", "/etc/passwd", ""),
    archive("h-tgz-device", "a packed dependency with a device", tarfile.CHRTYPE, "other/secret", "", ""),
    jsonnet("j-absolute", "a file of the machine by importstr", "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'j'}, data: {a: importstr '/etc/passwd'}}", "the import /etc/passwd does not exist", stops=PRISON, place="main.jsonnet:1", short=True),
    jsonnet("j-up", "a file above the repository by importstr", f"{{a: importstr '{UP}etc/passwd'}}", "leaves the repository", stops="references stay in the repository"),
    jsonnet("j-native", "a native function", "{a: std.native('exec')('touch @OUTSIDE@/pwned')}", "jsonnet:", stops="there are none", place="main.jsonnet"),
    jsonnet("j-environment", "the environment as an external variable", "{a: std.extVar('TAUT_CANARY')}", "jsonnet:", stops="only the source's variables are there", place="main.jsonnet"),
    jsonnet("j-endless", "a function that calls itself", "local f(x) = f(x + 1) + 1; {a: f(1)}", "jsonnet:", stops="Jsonnet's limit of its stack", place="main.jsonnet"),
    jsonnet("j-memory", "text that doubles", "local grow(s, n) = if n == 0 then s else grow(s + s, n - 1); {apiVersion: 'v1', kind: 'A', metadata: {name: grow('xxxxxxxxxxxxxxxx', 40)}}", "and was stopped", stops=LIMITS, slow=True),
]  # fmt: skip
