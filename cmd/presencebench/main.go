// Command presencebench measures presencelog: how many events a receiver accepts and how fast, and how fast history is read as
// it grows. It is for people who develop or size presencelog.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/presencelog/presencelog/internal/simulate/command"
)

type cli struct {
	Load     loadCmd         `cmd:"" default:"withargs" help:"Send load to a receiver, or compare presencelog with other servers (the default)."`
	Live     liveCmd         `cmd:"" help:"Measure the cost of clients of the live feed, and the delay of changes."`
	Scale    scaleCmd        `cmd:"" help:"Measure the read API's queries as history grows."`
	Simulate command.Command `cmd:"" help:"Generate synthetic traffic, live or as NDJSON of the past."`
	Server   serverCmd       `cmd:"" hidden:"" help:"Serve a baseline of --compare."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	var c cli
	parser := kong.Must(&c,
		kong.Name("presencebench"),
		kong.Description("Measure presencelog."),
		kong.ShortUsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	args, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	if err := args.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "presencebench: %v\n", err)
		os.Exit(1)
	}
}
