//go:build linux

package faults

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestSoak mixes faults for the time in PRESENCELOG_SOAK: two services, each behind a proxy, on one PostgreSQL, and one
// or two faults at a time.
func TestSoak(t *testing.T) {
	text := os.Getenv("PRESENCELOG_SOAK")
	if text == "" {
		t.Skip("PRESENCELOG_SOAK says how long, for example 10m")
	}
	length, err := time.ParseDuration(text)
	must(t, err)
	p := newPlace(t)
	d := newDatabase(t, p)
	var proxies []*proxy
	var services []*service
	for range 2 {
		x := newProxy(t, p, d.host)
		proxies = append(proxies, x)
		services = append(services, newService(t, p, x.url()))
	}
	l := (&load{pace: 10 * time.Millisecond}).start(t, 32, services...)

	var ofService, ofDatabase sync.Mutex // each has one fault at a time
	either := func() (*service, *proxy) { i := l.rng.IntN(2); return services[i], proxies[i] }
	faults := map[string]func(){
		"service killed": func() {
			ofService.Lock()
			defer ofService.Unlock()
			s, _ := either()
			s.kill()
			time.Sleep(l.moment())
			s.start()
		},
		"both services killed": func() {
			ofService.Lock()
			defer ofService.Unlock()
			for _, s := range services {
				s.kill()
			}
			for _, s := range services {
				s.start()
			}
		},
		"PostgreSQL killed": func() {
			ofDatabase.Lock()
			defer ofDatabase.Unlock()
			d.kill()
			time.Sleep(l.moment())
			d.start()
		},
		"PostgreSQL stopped": func() {
			ofDatabase.Lock()
			defer ofDatabase.Unlock()
			d.stop()
			time.Sleep(4 * l.moment())
			d.start()
		},
		"process of PostgreSQL killed": func() {
			ofDatabase.Lock()
			defer ofDatabase.Unlock()
			if pids := children(d.proc.pid()); len(pids) > 0 {
				_ = syscall.Kill(pids[l.rng.IntN(len(pids))], syscall.SIGKILL)
			}
			d.start()
		},
		"PostgreSQL frozen": func() {
			ofDatabase.Lock()
			defer ofDatabase.Unlock()
			d.freeze()
			time.Sleep(10 * l.moment())
			d.thaw()
		},
		"PostgreSQL read-only": func() {
			ofDatabase.Lock()
			defer ofDatabase.Unlock()
			d.exec("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
			time.Sleep(4 * l.moment())
			d.exec("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
		},
		"connections cut": func() {
			_, x := either()
			for range 10 {
				x.cutAll()
				time.Sleep(l.moment() / 4)
			}
		},
		"connections refused": func() {
			_, x := either()
			x.refuse.Store(true)
			x.cutAll()
			time.Sleep(4 * l.moment())
			x.refuse.Store(false)
		},
		"commits cut from their responses": func() {
			_, x := either()
			x.cutCommits.Store(1 + l.rng.Int64N(3))
			time.Sleep(4 * l.moment())
			x.cutCommits.Store(0)
		},
		"responses late": func() {
			_, x := either()
			x.delay.Store(l.rng.Int64N(int64(1500 * time.Millisecond)))
			time.Sleep(10 * l.moment())
			x.delay.Store(0)
		},
		"network silent": func() {
			_, x := either()
			x.swallow.Store(true)
			time.Sleep(10 * l.moment())
			x.swallow.Store(false)
		},
	}
	names := slices.Sorted(maps.Keys(faults))
	var mu sync.Mutex
	times := map[string]int{}
	began, logged := time.Now(), time.Now()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for time.Since(began) < length && !t.Failed() {
				name := names[l.rng.IntN(len(names))]
				faults[name]()
				mu.Lock()
				times[name]++
				if time.Since(logged) > time.Minute {
					logged = time.Now()
					fmt.Printf("soak: %s: sent %d, acknowledged %d, 503 %d, unanswered %d\n", time.Since(began).Round(time.Second),
						l.sent.Load(), l.acknowledged.Load(), l.unavailable.Load(), l.failed.Load())
				}
				mu.Unlock()
				time.Sleep(2 * l.moment())
			}
		})
	}
	both.Wait()
	var list []string
	for _, name := range names {
		list = append(list, fmt.Sprintf("%s %d×", name, times[name]))
	}
	t.Logf("%s of faults: %s", time.Since(began).Round(time.Second), strings.Join(list, ", "))
	l.count(mixed, d)
	for _, s := range services {
		t.Logf("the service at %s took %d MiB of memory since its last start", s.host, s.peakMemory()>>20)
	}
}
