"""The examples that the documents reference begins with. Each of them is read by the tests, so each of them works."""

from __future__ import annotations

_FOLDER = """
apiVersion: taut.dev/v1
kind: Application
metadata:
  name: shop
spec:
  source:
    git: https://git.example.com/team/fleet.git
    ref: main
    path: apps/shop/overlays/production
  target:
    cluster: production
    namespace: shop
  sync:
    createNamespace: true
"""

_CHART = """
apiVersion: taut.dev/v1
kind: Application
metadata:
  name: ingress
spec:
  sources:
    - helm: https://charts.example.com/stable
      chart: ingress-nginx
      version: 4.x
      helmOptions:
        valueFiles: [$values/ingress/production.yaml]
        parameters:
          - {name: controller.replicaCount, value: "3"}
    - name: values
      git: https://git.example.com/team/fleet.git
      ref: main
      path: values
      filesOnly: true
  target: {cluster: production, namespace: ingress}
  dependsOn: [cert-manager]
  ignore:
    - kind: Deployment
      pointers: [/spec/replicas]
"""

_MANY = """
apiVersion: taut.dev/v1
kind: Application
metadata:
  name: "{{ folder.name }}"
  labels: {team: shop}
spec:
  forEach:
    folders: apps/*
  source:
    git: https://git.example.com/team/fleet.git
    ref: main
    path: "{{ folder.path }}"
  target: {cluster: production, namespace: "{{ folder.name }}"}
"""

_REGIONS = """
apiVersion: taut.dev/v1
kind: Application
metadata:
  name: "shop-{{ region }}"
spec:
  forEach:
    list:
      - {region: eu, replicas: 5}
      - {region: us, replicas: 3}
  source:
    git: https://git.example.com/team/fleet.git
    ref: ">=1.4.0 <2"
    path: charts/shop
    helmOptions:
      values:
        region: "{{ region }}"
        replicaCount: "{{ replicas }}"
  target: {cluster: "{{ region }}", namespace: shop}
  sync:
    mode: manual
    windows:
      - {kind: allow, schedule: "0 9 * * mon-fri", duration: 8h, timeZone: Europe/Zurich, manualSync: true}
"""

_PROJECT = """
apiVersion: taut.dev/v1
kind: Project
metadata:
  name: shop
spec:
  repositories:
    - https://git.example.com/team/**
    - "!https://git.example.com/team/secrets"
  destinations:
    - {cluster: production, namespace: "shop-*"}
  clusterKinds: []
  deniedNamespacedKinds:
    - {kind: ResourceQuota}
  serviceAccounts:
    - {cluster: "*", namespace: "shop-*", serviceAccount: deployer}
"""

_ALERT_RULE = """
apiVersion: taut.dev/v1
kind: AlertRule
metadata:
  name: shop
spec:
  triggers: [drift-found, sync-failed, held, health-degraded]
  receivers: [shop-channel]
  match:
    applications: ["shop/*"]
    clusters: [production]
  for: 2m
  group: 1m
  repeat: 4h
  silences:
    - {schedule: "0 22 * * *", duration: 8h, timeZone: Europe/Zurich}
"""

_ALERT_WORDS = """
apiVersion: taut.dev/v1
kind: AlertRule
metadata:
  name: drift-at-night
spec:
  triggers: [drift-found]
  receivers: [on-call]
  severity: critical
  template:
    title: "{{ count }} changed by hand"
    text: |
      {% for alert in alerts %}
      {{ alert.app }}: {{ alert.field or alert.object }} by {{ alert.user or alert.who or "somebody" }}
      {% endfor %}
"""

_ALERT_RECEIVER = """
apiVersion: taut.dev/v1
kind: AlertReceiver
metadata:
  name: shop-channel
spec:
  slack: {secret: shop-slack}
"""

_ALERT_WEBHOOK = """
apiVersion: taut.dev/v1
kind: AlertReceiver
metadata:
  name: tickets
spec:
  webhook:
    url: https://tickets.example.com/hooks/taut
    secret: tickets-signature
"""

_CONFIG = """
store: state/taut.db
listen: 127.0.0.1:7411
clusters:
  - name: local
    kubeconfig: ~/.kube/config
    context: kind-local
roots:
  - name: fleet
    git: https://git.example.com/team/fleet.git
    ref: main
    path: taut
    poll: 1m
credentials:
  - name: forge
    urlPrefix: https://git.example.com/
    username: taut
    passwordFile: secrets/forge-token
secrets:
  sops:
    keys:
      - {file: secrets/age.key}
      - {secret: {cluster: local, namespace: taut, name: sops-team-a}, projects: [team-a]}
      - {vault: [https://vault.example.com/transit/*], projects: [team-b]}
webhook:
  secretFile: secrets/webhook
alerts:
  smtp: {host: mail.example.com, username: taut, passwordFile: secrets/mail, from: taut@example.com}
  secrets:
    - {name: shop-slack, file: secrets/shop-slack, roots: [fleet]}
    - {name: pager, file: secrets/pager}
  receivers:
    - {name: on-call, spec: {pagerduty: {secret: pager}}}
    - {name: ops, spec: {email: {to: [ops@example.com]}}}
  rules:
    - {name: everything, spec: {triggers: [sync-failed, source-unreachable], receivers: [ops], for: 5m}}
admission:
  listen: 127.0.0.1:9443
  exemptNamespaces: [monitoring]
"""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "Application": (
        ("A folder of a repository, kept running in a namespace:", _FOLDER),
        ("A chart with values from another repository, after another application:", _CHART),
        ("One application for each folder:", _MANY),
        ("One for each element of a list, in two clusters, synced by hand in office hours:", _REGIONS),
    ),
    "Project": (
        (
            "What a team may use. Namespaced objects only, in its own namespaces, written by a service account there:",
            _PROJECT,
        ),
    ),
    "AlertRule": (
        ("Who hears of a team's applications, not at night, and only of what lasts:", _ALERT_RULE),
        ("Own words, for whoever has to get up:", _ALERT_WORDS),
    ),
    "AlertReceiver": (
        (
            "A channel of Slack; the address of its webhook is in the file that the configuration names:",
            _ALERT_RECEIVER,
        ),
        ("Any server that checks a signature:", _ALERT_WEBHOOK),
    ),
    "Config": (("`taut run --config taut.yaml` reads this file. Relative paths are relative to it:", _CONFIG),),
}
"""For each kind: sentences, and the document that each introduces."""
