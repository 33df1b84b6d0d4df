package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthcheckCmd is for containers, which have no other HTTP client.
type healthcheckCmd struct {
	URL    string `arg:"" optional:"" help:"URL to request; default: /healthz at --listen on this machine."`
	Listen string `env:"PRESENCELOG_LISTEN" default:"127.0.0.1:8080" help:"The address that serve listens on."`

	TLSCert   string `env:"PRESENCELOG_TLS_CERT" hidden:""`
	TLSDomain string `env:"PRESENCELOG_TLS_DOMAIN" hidden:""`
}

func (c *healthcheckCmd) Run(ctx context.Context) error {
	url := c.URL
	if url == "" {
		host, port, err := net.SplitHostPort(c.Listen)
		if err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		scheme := "http"
		if c.TLSCert != "" || c.TLSDomain != "" {
			scheme = "https"
		}
		// Liveness: while the database is unavailable, a restart would not help, and the receiver uses its spool.
		url = scheme + "://" + net.JoinHostPort(host, port) + "/healthz"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// The request goes to an address of this machine, which no certificate has. Only the status counts.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, ServerName: strings.Split(c.TLSDomain, ",")[0], //nolint:gosec // see above
	}}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s responds with %s", url, response.Status)
	}
	return nil
}
