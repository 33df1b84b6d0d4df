// Package https gets certificates for the command serve: from files that may be renewed while it runs, or from an ACME
// authority such as Let's Encrypt.
package https

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// checkInterval is the minimum time between checks of the files.
const checkInterval = time.Second

// Files returns a configuration with the certificate in files, which are reloaded when they change. If that fails, the current
// certificate stays in use.
func Files(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	f := &files{cert: certFile, key: keyFile, log: log}
	f.read = f.modified()
	loaded, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	f.current = &loaded
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.get(), nil },
	}, nil
}

type files struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	read    [2]time.Time // modification times of the files that were read last
	checked time.Time
}

func (f *files) modified() (at [2]time.Time) {
	for i, name := range []string{f.cert, f.key} {
		if fi, err := os.Stat(name); err == nil {
			at[i] = fi.ModTime()
		}
	}
	return at
}

func (f *files) get() *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.checked) < checkInterval {
		return f.current
	}
	f.checked = time.Now()
	at := f.modified()
	if at == f.read {
		return f.current
	}
	loaded, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil { // perhaps only one of the two is replaced yet
		f.log.Warn("reading the renewed certificate; the current one stays in use", "error", err)
		return f.current
	}
	f.read, f.current = at, &loaded
	f.log.Info("read the renewed certificate", "file", f.cert)
	return f.current
}

// Domains returns a configuration that gets certificates for domains when a client first asks for one, and renews them. They
// are kept in dir. directory is the authority's URL; "" is Let's Encrypt. The authority connects to port 443 of the domain
// (TLS-ALPN-01), which must lead to this service.
func Domains(domains []string, dir, email, directory string) *tls.Config {
	m := &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(dir), HostPolicy: autocert.HostWhitelist(domains...), Email: email,
	}
	if directory != "" {
		m.Client = &acme.Client{DirectoryURL: directory}
	}
	c := m.TLSConfig()
	c.MinVersion = tls.VersionTLS12
	return c
}
