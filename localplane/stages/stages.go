// Package stages holds what kwok, the fake kubelet, does with nodes, Pods, volumes and load balancers.
//
// Nodes and the ordinary life of a Pod are kwok's own stages. The rest are ours: Pods that fail on demand, Pods that run to
// completion, a provisioner for volume claims, and addresses for Services of type LoadBalancer and for Ingresses.
package stages

import (
	"embed"
	"fmt"
	"io"
	"strings"

	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	nodeheartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/yaml"
)

//go:embed *.yaml
var ours embed.FS

// fate is a jq expression for what is to become of a Pod: the annotation's value (an empty string without one), but "crash"
// where "fail" would make a controller replace the Pod without end.
const fate = `((.metadata.annotations["localplane.taut.dev/pod"] // "") as $fate | ` +
	`if $fate == "fail" and any(.metadata.ownerReferences[]?; .kind | IN("ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController")) ` +
	`then "crash" else $fate end)`

// readyAfter is a jq expression for the annotation that delays readiness.
const readyAfter = `.metadata.annotations["localplane.taut.dev/ready-after"]`

// addresses is the part of a status template that gives a Pod its addresses, unless it has them: they may not change.
const addresses = `{{ if not .status.podIP }}
      {{ with NodeIPsWith .spec.nodeName }}
      hostIP: {{ index . 0 | Quote }}
      hostIPs:
      {{ range . }}
      - ip: {{ . | Quote }}
      {{ end }}
      {{ end }}
      {{ with PodIPsWith .spec.nodeName ( or .spec.hostNetwork false ) ( or .metadata.uid "" ) ( or .metadata.name "" ) ( or .metadata.namespace "" ) }}
      podIP: {{ index . 0 | Quote }}
      podIPs:
      {{ range . }}
      - ip: {{ . | Quote }}
      {{ end }}
      {{ end }}
      {{ end }}`

// Write prints all stages as one stream of YAML documents.
func Write(out io.Writer) error {
	ready, err := healthyPods(podfast.DefaultPodReady)
	if err != nil {
		return err
	}
	documents := []string{nodefast.DefaultNodeInit, nodeheartbeat.DefaultNodeHeartbeatWithLease, ready, podfast.DefaultPodDelete}
	fill := strings.NewReplacer("${FATE}", fate, "${ADDRESSES}", addresses)
	files, err := ours.ReadDir(".")
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := ours.ReadFile(file.Name())
		if err != nil {
			return err
		}
		documents = append(documents, fill.Replace(string(data)))
	}
	_, err = fmt.Fprintln(out, strings.Join(documents, "\n---\n"))
	return err
}

// healthyPods narrows kwok's stage that makes new Pods ready: Pods with another fate or with a delay have their own stages.
func healthyPods(document string) (string, error) {
	var stage map[string]any
	if err := yaml.Unmarshal([]byte(document), &stage); err != nil {
		return "", fmt.Errorf("kwok's stage for ready Pods: %w", err)
	}
	spec, _ := stage["spec"].(map[string]any)
	selector, _ := spec["selector"].(map[string]any)
	expressions, _ := selector["matchExpressions"].([]any)
	if len(expressions) == 0 {
		return "", fmt.Errorf("kwok's stage for ready Pods has no selector")
	}
	selector["matchExpressions"] = append(expressions,
		map[string]any{"key": fate, "operator": "NotIn", "values": []any{"fail", "crash", "never-ready", "image-pull"}},
		map[string]any{"key": readyAfter, "operator": "DoesNotExist"},
	)
	data, err := yaml.Marshal(stage)
	return string(data), err
}
