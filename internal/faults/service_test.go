//go:build linux

package faults

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/presencelog/presencelog/internal/pgtest"
)

// service is a presencelog serve.
type service struct {
	t       testing.TB
	host    string
	dataDir string
	url     string // of the database; "": embedded
	args    []string
	proc    *process
}

// newService starts a service with its own data directory.
func newService(t testing.TB, p *place, url string, args ...string) *service {
	t.Helper()
	host := p.host()
	return newServiceIn(t, p, filepath.Join(p.dir, "data-"+host), host, url, args...)
}

func newServiceIn(t testing.TB, p *place, dataDir, host, url string, args ...string) *service {
	t.Helper()
	s := &service{t: t, host: host, dataDir: dataDir, url: url, args: args}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of the service at %s ends:\n%s", s.host, tail(s.log()))
		}
	})
	s.start()
	return s
}

func (s *service) log() string { return s.dataDir + ".log" }

// The ports of services, databases and Caddy, at the addresses of a place. The usual ones may be taken at every address.
const (
	servicePort  = 18080
	databasePort = 15432
	caddyPort    = 18443
)

func (s *service) address() string { return fmt.Sprintf("%s:%d", s.host, servicePort) }

// start starts the service and waits until it responds.
func (s *service) start() {
	s.t.Helper()
	s.launch()
	pgtest.Eventually(s.t, "the service responds", func() bool {
		if !s.proc.running() {
			s.t.Fatal("the service ended at once")
		}
		return s.get("/healthz") == http.StatusOK
	})
}

// launch starts the service without waiting for it.
func (s *service) launch() {
	s.t.Helper()
	args := append([]string{"serve", "--listen", s.address(), "--data-dir", s.dataDir}, s.args...)
	cmd := command(false, shared.program, args...)
	if s.url != "" {
		cmd.Env = append(cmd.Env, "DATABASE_URL="+s.url)
	}
	out, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(s.t, err)
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	s.proc = start(s.t, cmd)
}

// kill kills the service. An embedded PostgreSQL is not signalled.
func (s *service) kill() {
	_ = s.proc.cmd.Process.Kill()
	<-s.proc.done
}

// stop shuts the service down.
func (s *service) stop() {
	s.t.Helper()
	s.proc.end(s.t, syscall.SIGTERM)
}

var client = &http.Client{Timeout: requestTimeout, Transport: &http.Transport{DisableKeepAlives: true}}

// get returns the status of the response, or 0.
func (s *service) get(path string) int {
	resp, err := client.Get("http://" + s.address() + path)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// metric returns the sum of a metric's values whose line contains all of the words, or -1 if it is missing.
func (s *service) metric(name string, words ...string) float64 {
	resp, err := client.Get("http://" + s.address() + "/metrics")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	sum := 0.0
lines:
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		line := lines.Text()
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		for _, w := range words {
			if !strings.Contains(rest, w) {
				continue lines
			}
		}
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			s.t.Errorf("the metric %q: %v", line, err)
		}
		sum += value
	}
	return sum
}

func (s *service) spooled() int { return int(s.metric("presencelog_events_total", `result="spooled"`)) }

func (s *service) stored() int { return int(s.metric("presencelog_events_total", `result="stored"`)) }

// healthy reports whether the service has its database and an empty spool.
func (s *service) healthy() bool {
	return s.metric("presencelog_database_up") == 1 && s.metric("presencelog_spool_bytes") == 0 && s.get("/readyz") == http.StatusOK
}

// segments returns the files of the spools in the data directory that hold events.
func (s *service) segments() []string {
	names, _ := filepath.Glob(filepath.Join(s.dataDir, "spool", "*", "*.log"))
	return slices.DeleteFunc(names, func(name string) bool {
		info, err := os.Stat(name)
		return err != nil || info.Size() == 0
	})
}

// bad returns the .bad files of the spools.
func (s *service) bad() []string {
	names, _ := filepath.Glob(filepath.Join(s.dataDir, "spool", "*", "*.bad"))
	return names
}

// peakMemory returns the peak memory of the process, in bytes.
func (s *service) peakMemory() int {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.proc.pid()))
	must(s.t, err)
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	must(s.t, err)
	return kb << 10
}
