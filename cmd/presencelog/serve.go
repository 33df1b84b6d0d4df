package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/https"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/presence"
)

type serveCmd struct {
	database
	Listen            string   `default:"127.0.0.1:8080" help:"Address to listen on. Unless it is a loopback address, every webhook and API request needs a token."`
	WebhookTokens     []string `placeholder:"TOKEN" help:"Accepted webhook tokens, in addition to those of presencelog token."`
	WebhookTokensFile string   `type:"existingfile" placeholder:"FILE" help:"File with accepted webhook tokens, one per line or separated by commas."`
	APITokens         []string `name:"api-tokens" placeholder:"TOKEN" help:"Accepted API tokens (scopes read and live), in addition to those of presencelog token."`
	APITokensFile     string   `name:"api-tokens-file" type:"existingfile" placeholder:"FILE" help:"File with accepted API tokens, one per line or separated by commas."`
	TLSCert           string   `name:"tls-cert" placeholder:"FILE" help:"Certificate for https, in PEM format; reloaded when it changes."`
	TLSKey            string   `name:"tls-key" placeholder:"FILE" help:"Private key of the certificate."`
	TLSDomain         []string `name:"tls-domain" placeholder:"DOMAIN" help:"Serve https for these domains, with certificates from Let's Encrypt. Port 443 of each domain must lead to this service."`
	TLSEmail          string   `name:"tls-email" placeholder:"ADDRESS" help:"E-mail address for the certificate authority."`
	ACMEDirectory     string   `name:"acme-directory" placeholder:"URL" help:"Directory URL of a certificate authority to use instead of Let's Encrypt."`
	TrustedProxies    []string `placeholder:"CIDR" help:"Proxies whose X-Forwarded-For is trusted, as addresses or networks."`
	WebhookRateLimit  float64  `default:"100000" help:"Maximum events per second for each webhook token; 0 means no limit."`
	APIRateLimit      float64  `name:"api-rate-limit" default:"5000" help:"Maximum requests per second for each API token; 0 means no limit."`
	FailureRateLimit  float64  `default:"100" help:"Maximum requests per second without a valid token from each address; 0 means no limit."`
	Migrate           bool     `default:"true" negatable:"" help:"Migrate the database's schema before serving; with --migrate=false, fail if the schema has another version."`
	Streams           int      `default:"200" help:"Maximum number of live streams and waits that a token may have open from one address."`
	Demo              bool     `help:"Serve synthetic history and live traffic from a temporary database."`
	SpoolBytes        int64    `default:"1073741824" help:"Maximum size of the spool, in bytes. It holds events in the data directory while PostgreSQL is unavailable."`

	MaxNewInstancesPerHour int           `default:"1000" help:"Maximum number of new instances per hour; 0 means no limit."`
	MaxNewContactsPerHour  int           `default:"250000" help:"Maximum number of new contacts per hour; 0 means no limit."`
	RejectedBytes          int64         `default:"104857600" help:"Maximum size of the stored rejected payloads, in bytes. The oldest are deleted first; 0 means no limit."`
	RejectedRetention      time.Duration `default:"720h" help:"How long to keep rejected payloads; 0 means forever."`
	KeepRejectedBodies     bool          `help:"Also keep the content of rejected payloads whose type is unknown. It may be a message."`
}

// checkLimits rejects negative limits: in some programs they mean no limit.
func (c *serveCmd) checkLimits() error {
	for _, limit := range []struct {
		flag  string
		value float64
	}{
		{"--webhook-rate-limit", c.WebhookRateLimit}, {"--api-rate-limit", c.APIRateLimit}, {"--failure-rate-limit", c.FailureRateLimit},
		{"--streams", float64(c.Streams)}, {"--spool-bytes", float64(c.SpoolBytes)},
		{"--max-new-instances-per-hour", float64(c.MaxNewInstancesPerHour)}, {"--max-new-contacts-per-hour", float64(c.MaxNewContactsPerHour)},
		{"--rejected-bytes", float64(c.RejectedBytes)}, {"--rejected-retention", float64(c.RejectedRetention)},
	} {
		if limit.value < 0 {
			return fmt.Errorf("%s must not be negative", limit.flag)
		}
	}
	return nil
}

func (c *serveCmd) Run(ctx context.Context) error {
	log := c.log()
	began := presence.Now()
	if c.Demo {
		clean, err := c.useDemo()
		if err != nil {
			return err
		}
		defer clean()
	}
	if err := c.checkLimits(); err != nil {
		return err
	}
	webhookTokens, err := secrets(c.WebhookTokens, "PRESENCELOG_WEBHOOK_TOKENS", c.WebhookTokensFile)
	if err != nil {
		return err
	}
	apiTokens, err := secrets(c.APITokens, "PRESENCELOG_API_TOKENS", c.APITokensFile)
	if err != nil {
		return err
	}
	config := app.Config{
		Listen: c.Listen, WebhookTokens: webhookTokens, APITokens: apiTokens, Version: version(), Log: log, Demo: c.Demo, Streams: c.Streams,
		AuthLimits: auth.Limits{Webhooks: c.WebhookRateLimit, API: c.APIRateLimit, Failures: c.FailureRateLimit},
		TokensFile: filepath.Join(c.DataDir, "webhook-tokens.json"),
		SpoolDir:   filepath.Join(c.DataDir, "spool"), SpoolBytes: c.SpoolBytes, NoMigrate: !c.Migrate,
		Rejected: app.Rejected{MaxBytes: c.RejectedBytes, Keep: c.RejectedRetention, KeepBodies: c.KeepRejectedBodies},
		Limits:   ingest.Limits{InstancesPerHour: c.MaxNewInstancesPerHour, ContactsPerHour: c.MaxNewContactsPerHour},
	}
	if config.Proxies, err = auth.ParseProxies(c.TrustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	if config.TLS, err = c.tls(log); err != nil {
		return err
	}
	if c.Demo && (config.Public() || config.TLS != nil) {
		return errors.New("--demo serves this machine only: set --listen to an address like 127.0.0.1:8080, and pass no certificate")
	}
	// Open the port first: starting an embedded PostgreSQL takes seconds.
	if config.Listener, err = app.Listen(config); err != nil {
		return err
	}
	defer config.Listener.Close()
	c.lasting = true
	connString, closeDB, err := c.open(ctx, log)
	if err != nil {
		return err
	}
	defer closeDB()
	config.Database = connString
	if c.Demo {
		if err := fillDemo(ctx, connString, began); err != nil {
			return err
		}
	}
	a, err := app.Start(ctx, config)
	if err != nil {
		return err
	}
	defer a.Stop()
	c.printStartup(a)
	if c.Demo {
		defer playDemo(ctx, a, began, webhookTokens, log)()
	}
	select {
	case <-ctx.Done():
		log.Info("stopping")
		return nil
	case err := <-a.Failed():
		return err
	}
}

// tls returns nil for http.
func (c *serveCmd) tls(log *slog.Logger) (*tls.Config, error) {
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return nil, errors.New("pass --tls-cert and --tls-key together")
	case c.TLSCert != "" && len(c.TLSDomain) > 0:
		return nil, errors.New("pass --tls-cert or --tls-domain, not both")
	case c.TLSCert != "":
		return https.Files(c.TLSCert, c.TLSKey, log)
	case len(c.TLSDomain) > 0:
		return https.Domains(c.TLSDomain, filepath.Join(c.DataDir, "certificates"), c.TLSEmail, c.ACMEDirectory), nil
	}
	return nil, nil
}

func (c *serveCmd) printStartup(a *app.App) {
	history := "an embedded PostgreSQL in " + c.DataDir
	if c.DatabaseURL != "" {
		history = "PostgreSQL at DATABASE_URL"
	}
	url := baseURL(a.Addr)
	switch {
	case len(c.TLSDomain) > 0:
		url = "https://" + c.TLSDomain[0]
	case c.TLSCert != "":
		url = "https" + strings.TrimPrefix(url, "http")
	}
	fmt.Fprintf(os.Stderr, "presencelog %s listens on %s, history in %s\n  page     %s/\n  webhook  %s/webhooks/zapi\n  API      %s/openapi.json\n",
		version(), url, history, url, url, url)
	for _, kind := range []struct {
		what  string
		scope auth.Scope
	}{{"Webhooks", auth.Webhook}, {"API requests", auth.Read}} {
		switch a.Auth.Protection(kind.scope) {
		case auth.Open:
			fmt.Fprintf(os.Stderr, "  %s from this machine need no token. Before other machines can reach it, run: presencelog token create NAME --scope %s\n", kind.what, kind.scope)
		case auth.Closed:
			fmt.Fprintf(os.Stderr, "  %s are refused, since there is no token yet. Run: presencelog token create NAME --scope %s\n", kind.what, kind.scope)
		}
	}
}

// baseURL returns a URL that this machine can open. An unspecified address, like [::], is replaced.
func baseURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
