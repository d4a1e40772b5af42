// Command forge is Gitea: a Git forge, an OCI registry, a Helm repository and an OIDC provider in one server.
package main

import (
	"fmt"
	"os"
	"time"

	"code.gitea.io/gitea/cmd"
	"code.gitea.io/gitea/modules/log"
	"code.gitea.io/gitea/modules/setting"
)

// version is set by the linker to the module's version.
var version = "unknown"

func main() {
	setting.AppVer = version
	setting.AppStartTime = time.Now().UTC()
	err := cmd.RunMainApp(cmd.NewMainApp(cmd.AppVersion{Version: version}), os.Args...)
	log.GetManager().Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
