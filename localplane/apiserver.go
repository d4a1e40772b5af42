package main

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/rest"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// listenerVariable names the environment variable that holds the number of an inherited, already listening socket.
// Whoever starts the API server chooses its port by binding it: between choosing and serving nobody else can take it.
const listenerVariable = "LOCALPLANE_LISTENER_FD"

// newAPIServer returns kube-apiserver with its usual flags, serving on the inherited socket when there is one.
func newAPIServer() *cobra.Command {
	s := options.NewServerRunOptions()
	ctx := genericapiserver.SetupSignalContext()
	gates := s.GenericServerRunOptions.ComponentGlobalsRegistry
	cmd := &cobra.Command{
		Use:          "kube-apiserver",
		SilenceUsage: true,
		Args:         cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := gates.Set(); err != nil {
				return err
			}
			rest.SetDefaultWarningHandler(rest.NoWarnings{})
			gate := gates.FeatureGateFor(basecompatibility.DefaultKubeComponent)
			if err := logsapi.ValidateAndApply(s.Logs, gate); err != nil {
				return err
			}
			listener, err := inheritedListener()
			if err != nil {
				return err
			}
			s.SecureServing.Listener = listener
			completed, err := s.Complete(ctx)
			if err != nil {
				return err
			}
			if errs := completed.Validate(); len(errs) != 0 {
				return utilerrors.NewAggregate(errs)
			}
			gate.(featuregate.MutableFeatureGate).AddMetrics()
			gates.AddMetrics()
			return app.Run(ctx, completed)
		},
	}
	flags := s.Flags()
	for _, set := range flags.FlagSets {
		cmd.Flags().AddFlagSet(set)
	}
	return cmd
}

// inheritedListener returns the socket named by listenerVariable, or nil when the variable is not set.
func inheritedListener() (net.Listener, error) {
	text := os.Getenv(listenerVariable)
	if text == "" {
		return nil, nil
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is %q, which is no number of an inherited socket", listenerVariable, text)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("%s=%d cannot be listened on: %w", listenerVariable, fd, err)
	}
	return listener, nil
}
