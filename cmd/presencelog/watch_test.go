package main

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// watch shows what another process stores, and ends in good order.
func TestWatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		flag string
		want *regexp.Regexp
	}{
		{"--json=false", regexp.MustCompile(`^\d\d:\d\d:\d\d\tCOMPOSING\tbad\\x1bname\ti$`)},
		{"--json", regexp.MustCompile(`^\{"instanceId":"i","phone":"bad\\u001bname","status":"COMPOSING","since":"[^"]+Z","lastEventAt":"[^"]+Z"\}$`)},
	} {
		t.Run(test.flag, func(t *testing.T) {
			t.Parallel()
			if line := watch(t, test.flag); !test.want.MatchString(line) {
				t.Errorf("it shows %q", line)
			}
		})
	}
}

// watch returns the first line that the command shows.
func watch(t *testing.T, flag string) (line string) {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	url := pgtest.URL(t)
	pool, err := postgres.Connect(t.Context(), url, "test", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	command := exec.Command(binary, "watch", "--database-url", url, "--status", "composing", flag)
	command.Stderr = t.Output()
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	lines := make(chan string, 100)
	go func() {
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
		close(lines)
	}()
	// It shows changes from its start on, so some may be too early.
	store := ingest.NewStore(pool)
	for i := 0; line == ""; i++ {
		status := []presence.Status{presence.Composing, presence.Paused}[i%2]
		events := []presence.Event{{InstanceID: "i", Phone: "bad\x1bname", Status: status, ReceivedAt: presence.Now()}}
		if err := store.Write(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		select {
		case shown, open := <-lines:
			if !open {
				t.Fatalf("watch has ended: %v", command.Wait())
			}
			line = shown
		case <-time.After(50 * time.Millisecond): // not so many that it would count as slow
		}
	}
	if err := command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for range lines {
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
	return line
}
