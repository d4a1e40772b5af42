// Command localplane is a Kubernetes control plane in one file. The first argument names the component to run:
// etcd, kube-apiserver, kube-controller-manager or kube-scheduler; "stages" prints the configuration that kwok needs.
package main

import (
	"fmt"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	sched "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"taut.dev/localplane/stages"
)

const usage = "usage: localplane etcd|kube-apiserver|kube-controller-manager|kube-scheduler [FLAGS], or localplane stages"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	// Each component parses os.Args itself and expects its own name first.
	os.Args = os.Args[1:]
	switch os.Args[0] {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		os.Exit(cli.Run(newAPIServer()))
	case "kube-controller-manager":
		os.Exit(cli.Run(kcm.NewControllerManagerCommand()))
	case "kube-scheduler":
		os.Exit(cli.Run(sched.NewSchedulerCommand()))
	case "stages":
		if err := stages.Write(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "no component is called %q; %s\n", os.Args[0], usage)
		os.Exit(2)
	}
}
