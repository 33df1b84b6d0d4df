// Command presencelog records the presence of WhatsApp contacts and reports their history. This package reads flags,
// environment and signals, and prints; packages in internal/ do the work.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/presencelog/presencelog/internal/simulate/command"
)

type cli struct {
	Serve         serveCmd         `cmd:"" set:"log_level=info" help:"Receive webhooks and serve the API."`
	Migrate       migrateCmd       `cmd:"" help:"Migrate the database's schema up or down, or show its version."`
	Import        importCmd        `cmd:"" help:"Import events from NDJSON; duplicates are skipped."`
	Export        exportCmd        `cmd:"" help:"Export events as NDJSON, which import reads, or as Parquet."`
	Now           nowCmd           `cmd:"" help:"Show who is in the chat, typing or recording now."`
	Watch         watchCmd         `cmd:"" help:"Show status changes as they happen."`
	Instances     instancesCmd     `cmd:"" help:"List the instances."`
	Contacts      contactsCmd      `cmd:"" help:"List an instance's contacts and what they do now."`
	Events        eventsCmd        `cmd:"" help:"List a contact's events."`
	Timeline      timelineCmd      `cmd:"" help:"Show a contact's timeline."`
	Durations     durationsCmd     `cmd:"" help:"Show how long a contact typed, recorded and was in the chat."`
	Compare       compareCmd       `cmd:"" help:"Show several contacts' durations side by side."`
	Top           topCmd           `cmd:"" help:"Show the most active contacts."`
	Heatmap       heatmapCmd       `cmd:"" help:"Show the hours of the week in which contacts were active."`
	Habits        habitsCmd        `cmd:"" help:"Show the hours of the week in which a contact is usually in the chat."`
	Rejected      rejectedCmd      `cmd:"" help:"Inspect and retry rejected payloads."`
	Stats         statsCmd         `cmd:"" help:"Show the number of events and the space they use."`
	Rebuild       rebuildCmd       `cmd:"" help:"Rebuild the stored intervals from the events."`
	Analyst       analystCmd       `cmd:"" help:"Create and drop read-only SQL roles."`
	Hook          hookCmd          `cmd:"" help:"Send status changes to other services by webhooks."`
	MCP           mcpCmd           `cmd:"" name:"mcp" help:"Serve the history to language models: MCP on standard input and output."`
	OpenAPI       openAPICmd       `cmd:"" name:"openapi" help:"Write the OpenAPI document of the API."`
	Token         tokenCmd         `cmd:"" help:"Create and revoke API tokens and webhook tokens."`
	Erase         eraseCmd         `cmd:"" help:"Delete every trace of a contact or an instance."`
	SubjectReport subjectReportCmd `cmd:"" help:"Write everything that is stored about a contact, as JSON."`
	Settings      settingsCmd      `cmd:"" help:"Show or change timeouts, the time zone, and how long history is kept."`
	Retention     retentionCmd     `cmd:"" help:"Apply the retention settings now, as serve does regularly, or show what would be deleted."`
	Simulate      command.Command  `cmd:"" help:"Generate synthetic traffic, live or as NDJSON of the past."`

	Healthcheck healthcheckCmd `cmd:"" hidden:"" help:"Check whether a running service responds."`

	Version kong.VersionFlag `help:"Show the version."`
}

func main() {
	// The first signal shuts down gracefully; a second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	var c cli
	parser := kong.Must(&c,
		kong.Name("presencelog"),
		kong.Description("The presence history of WhatsApp contacts: who was in the chat, typing or recording, when and for how long."),
		kong.Vars{"version": version(), "data_dir": defaultDataDir(), "setting_names": strings.Join(settingNames(), ","), "log_level": "warn"},
		kong.PostBuild(addServeVariables),
		kong.ShortUsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	args, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	parser.FatalIfErrorf(checkNames(args))
	if err := args.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "presencelog: %v\n", err)
		os.Exit(1)
	}
}

// checkNames rejects an empty instance or phone, for example from an unset variable of a script. A command without one may
// apply to all: erase would delete a whole instance, a token would see all instances.
func checkNames(args *kong.Context) error {
	for _, given := range args.Path {
		var value *kong.Value
		shown := ""
		switch {
		case given.Flag != nil:
			value, shown = given.Flag.Value, "--"+given.Flag.Name
		case given.Positional != nil:
			value, shown = given.Positional, "<"+given.Positional.Name+">"
		}
		if value == nil || value.Name != "instance" && value.Name != "phone" {
			continue
		}
		switch names := value.Target.Interface().(type) {
		case string:
			if names != "" {
				continue
			}
		case []string:
			if len(names) > 0 && !slices.Contains(names, "") {
				continue
			}
		}
		return fmt.Errorf("%s is empty", shown)
	}
	return nil
}

// addServeVariables gives each flag of serve an environment variable, since all of them are configuration. Flags of other
// commands select or confirm, and have one only if their tag names it.
func addServeVariables(k *kong.Kong) error {
	for _, command := range k.Model.Children {
		if command.Name != "serve" {
			continue
		}
		for _, flag := range command.Flags {
			if len(flag.Envs) == 0 {
				name := "PRESENCELOG_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
				flag.Envs, flag.Tag.Envs = []string{name}, []string{name}
			}
		}
	}
	return nil
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
