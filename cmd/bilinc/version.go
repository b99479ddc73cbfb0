package main

import (
	"context"
	"fmt"
	goruntime "runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"bilinc/runtime/kernel"
)

func (a *app) versionCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version, the platform and the kernel path", Args: cobra.NoArgs}
	return a.runsBriefly(cmd, func(context.Context, []string) error {
		v := map[string]string{
			"version": version(), "go": goruntime.Version(),
			"os": goruntime.GOOS, "arch": goruntime.GOARCH, "kernel": kernel.Path(),
		}
		if a.json {
			return a.printJSON(v)
		}
		_, err := fmt.Fprintf(a.stdout, "bilinc %s %s %s/%s kernel=%s\n", v["version"], v["go"], v["os"], v["arch"], v["kernel"])
		return err
	})
}

// version is the module's version, with the commit where the build knows it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v == "(devel)" {
			v += "+" + s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}

func (a *app) completionCmd() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	cmd := &cobra.Command{
		Use:       "completion bash|zsh|fish|powershell",
		Short:     "Print a completion script for a shell",
		ValidArgs: shells,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
	}
	return a.runsBriefly(cmd, func(_ context.Context, args []string) error {
		root := cmd.Root()
		switch args[0] {
		case "bash":
			return root.GenBashCompletionV2(a.stdout, true)
		case "zsh":
			return root.GenZshCompletion(a.stdout)
		case "fish":
			return root.GenFishCompletion(a.stdout, true)
		}
		return root.GenPowerShellCompletionWithDesc(a.stdout)
	})
}
