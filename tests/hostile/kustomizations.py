"""Attacks by kustomizations."""

from __future__ import annotations

from hostile.attack import Attack, kustomize

LEAVES = "the path leaves the repository"
ABSOLUTE = "an absolute path cannot be read"
PROGRAM = "is a program, and programs of a repository are not run"
NOT_LISTED = "comes from a place the project does not list"
PLUGIN = """apiVersion: example.test/v1
kind: Exec
metadata:
  name: x
  annotations:
    config.kubernetes.io/function: |
      exec: {path: /usr/bin/touch, args: [@OUTSIDE@/pwned]}
"""
UP = "../" * 8
NO_FETCH = "only addresses that the project lists are fetched"
NO_PROGRAM = "no plugins but kustomize's own"

ATTACKS: list[Attack] = [
    kustomize("k-resource-up", "a resource above the repository", f"resources: [cm.yaml, {UP}etc/passwd]\n", LEAVES, short=True),
    kustomize("k-resource-absolute", "a resource of the machine", "resources: [cm.yaml, /etc/passwd]\n", ABSOLUTE),
    kustomize("k-base-up", "a base above the repository", f"bases: [{UP}etc]\n", LEAVES),
    kustomize("k-component-absolute", "a component of the machine", "components: [@OUTSIDE@]\n", ABSOLUTE),
    kustomize("k-patch-up", "a patch above the repository", f"resources: [cm.yaml]\npatches: [{{path: {UP}etc/passwd}}]\n", LEAVES),
    kustomize("k-patch-absolute", "a patch of the machine", "resources: [cm.yaml]\npatchesStrategicMerge: [/etc/passwd]\n", ABSOLUTE),
    kustomize("k-files-up", "a generator's file above the repository", f"configMapGenerator: [{{name: k, files: [a={UP}etc/passwd]}}]\n", LEAVES),
    kustomize("k-files-absolute", "a generator's file of the machine", "configMapGenerator: [{name: k, files: [@OUTSIDE@/secret]}]\n", ABSOLUTE, short=True),
    kustomize("k-envs", "the environment of taut as a generator's file", "secretGenerator: [{name: k, envs: [/proc/self/environ]}]\n", ABSOLUTE),
    kustomize("k-openapi", "an OpenAPI file above the repository", f"resources: [cm.yaml]\nopenapi: {{path: {UP}etc/passwd}}\n", LEAVES),
    kustomize("k-replacement", "replacements above the repository", f"resources: [cm.yaml]\nreplacements: [{{path: {UP}etc/passwd}}]\n", LEAVES),
    kustomize("k-crds", "the machine's files as CRDs", "resources: [cm.yaml]\ncrds: [/etc/passwd]\n", ABSOLUTE),
    kustomize("k-transformer-up", "a transformer above the repository", f"resources: [cm.yaml]\ntransformers: [{UP}etc]\n", LEAVES),
    kustomize("k-circle", "a base that is its own base", "resources: [../k-circle]\n", "cycle detected", stops="kustomize itself", place="apps/k-circle"),
    kustomize("k-remote", "a base on a host that is not listed", "resources: ['@CANARY@/org/base.git//x?ref=v1']\n", NOT_LISTED, stops=NO_FETCH, short=True, stage="source", place=""),
    kustomize("k-remote-file", "a file on a host that is not listed", "resources: ['@CANARY@/x.yaml']\n", NOT_LISTED, stops=NO_FETCH, stage="source", place=""),
    kustomize("k-remote-local", "a base on the machine's disk", "resources: ['file://@OUTSIDE@//x?ref=main']\n", NOT_LISTED, stops=NO_FETCH, stage="source", place=""),
    kustomize("k-remote-program", "a base behind Git's ext transport", "resources: [\"git::ext::sh -c 'touch @OUTSIDE@/pwned'\"]\n", NOT_LISTED, stops=NO_FETCH, stage="source", place=""),
    kustomize("k-remote-option", "a base that is an option of git or ssh", "resources: ['ssh://-oProxyCommand=touch%20@OUTSIDE@/pwned/x/y?ref=v1']\n", NOT_LISTED, stops=NO_FETCH, stage="source", place=""),
    kustomize("k-remotes", "thousands of bases elsewhere", "resources:\n" + "".join(f"- https://h.test/a/b?ref={n}\n" for n in range(5000)), "more than 200 bases are elsewhere", stops="they are counted"),
    kustomize("k-charts", "a chart inside a kustomization", "helmCharts: [{name: x, repo: '@CANARY@', version: 1.0.0}]\n", "charts inside a kustomization are not rendered", stops="nothing but taut fetches", short=True),
    kustomize("k-inflation", "the same as a generator", "generators: [g.yaml]\n", "charts inside a kustomization are not rendered", stops="nothing but taut fetches", files={"g.yaml": "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: x}\nname: x\nrepo: '@CANARY@'\n"}),
    kustomize("k-exec", "a generator that is a program", "generators: [plugin.yaml]\n", PROGRAM, stops=NO_PROGRAM, short=True, files={"plugin.yaml": PLUGIN}),
    kustomize("k-exec-folder", "a transformer in a folder that is a program", "resources: [cm.yaml]\ntransformers: [plugins]\n", PROGRAM, stops=NO_PROGRAM, files={"plugins/kustomization.yaml": "resources: [plugin.yaml]\n", "plugins/plugin.yaml": PLUGIN}),
    kustomize("k-exec-inline", "a validator in the kustomization that is a program", "resources: [cm.yaml]\nvalidators:\n- |\n" + "".join(f"  {line}\n" for line in PLUGIN.splitlines()), PROGRAM, stops=NO_PROGRAM),
    kustomize("k-long-path", "a path without end", "resources: [" + "a/" * 5000 + "]\n", "characters, more than 4096", stops="no system has such paths", place="a/a/a"),
]  # fmt: skip
