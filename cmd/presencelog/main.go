// Command presencelog records the presence of WhatsApp contacts and tells their history. This package translates flags,
// environment and signals, and prints for people; the work is done in internal/.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

type cli struct {
	Serve      serveCmd      `cmd:"" help:"Receive webhooks and answer questions."`
	Migrate    migrateCmd    `cmd:"" help:"Bring the database's schema up or down, or show where it is."`
	Import     importCmd     `cmd:"" help:"Store events from NDJSON; what is stored already is left alone."`
	Export     exportCmd     `cmd:"" help:"Write events as NDJSON, which import reads."`
	Timeline   timelineCmd   `cmd:"" help:"Show what a contact did, and when."`
	Durations  durationsCmd  `cmd:"" help:"Show how long a contact typed, recorded and was in the chat."`
	Compare    compareCmd    `cmd:"" help:"Show several contacts' durations side by side."`
	Top        topCmd        `cmd:"" help:"Show the contacts that did something most."`
	Heatmap    heatmapCmd    `cmd:"" help:"Show at which hours of the week an instance's contacts did something."`
	Quarantine quarantineCmd `cmd:"" help:"Look at callbacks that could not be understood, and try them again."`
	Stats      statsCmd      `cmd:"" help:"Count what is stored and the space it takes."`
	Rebuild    rebuildCmd    `cmd:"" help:"Make the sums that fast answers are made of anew from the events."`
	Analyst    analystCmd    `cmd:"" help:"Make and drop roles that ask in SQL."`
	Settings   settingsCmd   `cmd:"" help:"Show or change timeouts, the time zone, and how long history is kept."`
	Retention  retentionCmd  `cmd:"" help:"Delete now what is older than the settings say, as serve does by itself, or show what that is."`
	Simulate   simulateCmd   `cmd:"" help:"Make up believable traffic, live or as NDJSON of the past."`
	Bench      benchCmd      `cmd:"" help:"Measure how many events a receiver takes, and how fast."`

	Healthcheck healthcheckCmd `cmd:"" hidden:"" help:"Ask a running service whether it is ready."`

	Version kong.VersionFlag `env:"-" help:"Show the version."`
}

func main() {
	// The first signal ends what is under way in good order; a second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	var c cli
	parser := kong.Must(&c,
		kong.Name("presencelog"),
		kong.Description("The presence history of WhatsApp contacts: who was in the chat, typing or recording, when and for how long."),
		kong.DefaultEnvars("PRESENCELOG"),
		kong.Vars{"version": version(), "data_dir": defaultDataDir(), "setting_names": settingNames()},
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	args, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	if err := args.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "presencelog: %v\n", err)
		os.Exit(1)
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
