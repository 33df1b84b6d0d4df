package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"sync"
	"time"

	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/simulate"
)

const (
	probeInstance = "probe"
	probeSenders  = 16
	probeInterval = 10 * time.Millisecond // between two events of all senders
	probeTimeout  = 10 * time.Second      // for a change to reach its reader

	minTyping, maxTyping = 5 * time.Second, 15 * time.Second // of contacts with a wait
)

// Live measures the cost of live feed clients for the ingest, and the delay of changes. It sends load to two services in turn:
// one with clients, one without.
type Live struct {
	Processes   int // of each service; the first gets all load, clients are spread over all
	Readers     int // of the feed; each follows a contact of the load and a probe
	Waits       int // concurrent waits until a contact is idle
	Connections int // of the load
	Duration    time.Duration
	Runs        int
	Bodies      [][]byte
	Database    string // connection string of a PostgreSQL where databases can be created

	// Command returns the command of a process of the service. It must listen on listen, require the token for webhooks and
	// none for the API, use the database and end on an interrupt.
	Command func(n int, listen, database, token string) *exec.Cmd

	Progress func(string)
}

// LiveResult has medians or maxima of the runs.
type LiveResult struct {
	Processes int
	Alone     float64 // events/s without clients
	PerSecond float64
	Ratio     float64 // within a round
	Messages  float64 // a second

	P50Ms      float64 // from sending an event until a reader of the same process has the change
	P99Ms      float64
	OtherP99Ms float64 // until a reader of another process has it; 0 if there is none

	AloneMemory int64 // bytes, maximum of all processes
	PeakMemory  int64
	Dropped     int64 // readers whose stream ended, and changes that did not arrive in time
}

type liveRun struct {
	Result
	messages, dropped int64
	same, other       latencies
}

// Run runs the measurement. It drops all databases that it creates.
func (l Live) Run(ctx context.Context) (result LiveResult, err error) {
	server, err := openServer(ctx, l.Database)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	phones, err := contactsOf(l.Bodies)
	if err != nil {
		return result, err
	}
	var services []*liveService // without clients, with them
	for i := range 2 {
		s, err := l.start(ctx, server, i*l.Processes)
		if s != nil {
			defer s.stop()
		}
		if err != nil {
			return result, fmt.Errorf("start presencelog: %w", err)
		}
		services = append(services, s)
	}
	if err := server.checkpoint(ctx); err != nil {
		return result, err
	}
	var alone, with []*liveRun
	for n := range l.Runs {
		l.Progress(fmt.Sprintf("%d processes, run %d of %d", l.Processes, n+1, l.Runs))
		run, err := services[0].measure(ctx, l)
		if err != nil {
			return result, err
		}
		alone = append(alone, run)
		if run, err = services[1].withClients(ctx, l, phones); err != nil {
			return result, err
		}
		with = append(with, run)
	}
	rate := func(r *liveRun) float64 { return r.PerSecond }
	ratios := make([]float64, l.Runs)
	result = LiveResult{
		Processes: l.Processes, Alone: median(alone, rate), PerSecond: median(with, rate),
		Messages:    median(with, func(r *liveRun) float64 { return float64(r.messages) / r.Seconds }),
		P50Ms:       median(with, func(r *liveRun) float64 { return r.same.quantile(0.5) }),
		P99Ms:       median(with, func(r *liveRun) float64 { return r.same.quantile(0.99) }),
		OtherP99Ms:  median(with, func(r *liveRun) float64 { return r.other.quantile(0.99) }),
		AloneMemory: services[0].peakMemory(), PeakMemory: services[1].peakMemory(),
	}
	for i := range ratios {
		ratios[i] = with[i].PerSecond / alone[i].PerSecond
		result.Dropped += with[i].dropped
		if failed := alone[i].Failed() + with[i].Failed(); failed > 0 {
			return result, fmt.Errorf("%d events were not acknowledged: %v, %v", failed, alone[i].Errors, with[i].Errors)
		}
	}
	result.Ratio = median(ratios, func(x float64) float64 { return x })
	return result, nil
}

type contact struct{ instance, phone string }

// contactsOf returns the contacts of bodies, each once.
func contactsOf(bodies [][]byte) ([]contact, error) {
	var list []contact
	seen := map[contact]bool{}
	for _, body := range bodies {
		e, err := gateway.DecodeZAPI(body)
		if err != nil {
			return nil, err
		}
		if c := (contact{e.InstanceID, e.Phone}); !seen[c] {
			seen[c] = true
			list = append(list, c)
		}
	}
	return list, nil
}

// liveService is the processes of a service.
type liveService struct {
	processes []*process
	addresses []string
	load      Load
	probes    []probe
	client    *http.Client // for requests other than the load
}

func (l Live) start(ctx context.Context, server *server, number int) (*liveService, error) {
	conn, err := server.create(ctx, "live")
	if err != nil {
		return nil, err
	}
	s := &liveService{probes: make([]probe, l.Readers), client: simulate.NewClient(l.Waits + probeSenders)}
	for i := range s.probes {
		s.probes[i].arrived = make(chan time.Time, 1)
	}
	for i := range l.Processes {
		p, load, _, err := startProcess(ctx, func(listen string) *exec.Cmd {
			s.addresses = append(s.addresses, listen)
			return l.Command(number+i, listen, conn, token)
		}, l.Bodies)
		if p != nil {
			s.processes = append(s.processes, p)
		}
		if err != nil {
			return s, err
		}
		if i == 0 {
			s.load = load
		}
	}
	s.load.Connections, s.load.Duration = l.Connections, l.Duration
	_, err = s.load.once(ctx)
	return s, err
}

func (s *liveService) stop() {
	s.client.CloseIdleConnections()
	for _, p := range s.processes {
		p.stop()
	}
}

func (s *liveService) peakMemory() (bytes int64) {
	for _, p := range s.processes {
		bytes = max(bytes, p.peakMemory())
	}
	return bytes
}

func (s *liveService) measure(ctx context.Context, l Live) (*liveRun, error) {
	load := s.load
	load.Duration = min(warmUp, l.Duration)
	if _, err := load.Run(ctx); err != nil {
		return nil, err
	}
	result, err := s.load.Run(ctx)
	return &liveRun{Result: result}, err
}

// withClients measures while readers and waits are open.
func (s *liveService) withClients(ctx context.Context, l Live, contacts []contact) (*liveRun, error) {
	ctx, cancel := context.WithCancel(ctx)
	clients := &liveClients{contacts: contacts, probes: s.probes}
	var ended sync.WaitGroup
	defer ended.Wait()
	defer cancel()
	opened := make(chan error, l.Readers)
	for i := range l.Readers {
		ended.Go(func() { clients.read(ctx, s, i, opened) })
	}
	for range l.Readers {
		if err := <-opened; err != nil {
			return nil, err
		}
	}
	failed := make(chan error, l.Waits+probeSenders)
	for i := range l.Waits {
		ended.Go(func() { failed <- clients.wait(ctx, s, i) })
	}
	warm := s.load
	warm.Duration = min(warmUp, l.Duration)
	if _, err := warm.Run(ctx); err != nil {
		return nil, err
	}
	run := &liveRun{}
	var probing sync.WaitGroup
	probed, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	senders := min(probeSenders, l.Readers)
	for n := range senders {
		probing.Go(func() { failed <- clients.probe(probed, s, run, n, senders) })
	}
	messages := clients.messages.Load()
	result, err := s.load.Run(ctx)
	run.Result, run.messages = result, clients.messages.Load()-messages
	stopProbing()
	probing.Wait()
	run.dropped = clients.dropped.Load()
	cancel()
	ended.Wait()
	for range senders + l.Waits {
		err = cmp.Or(err, <-failed)
	}
	return run, err
}

// WriteLive writes a table with a line for each result.
func WriteLive(w io.Writer, results []LiveResult) {
	table := [][]string{{
		"processes", "events/s without clients", "with clients", "ratio", "messages/s", "p50 ms", "p99 ms", "p99 ms, other process",
		"peak MiB without", "peak MiB with", "dropped",
	}}
	for _, r := range results {
		table = append(table, []string{
			fmt.Sprint(r.Processes), count(r.Alone), count(r.PerSecond), known(r.Ratio, 2), count(r.Messages),
			known(r.P50Ms, 1), known(r.P99Ms, 1), known(r.OtherP99Ms, 1),
			known(float64(r.AloneMemory)/(1<<20), 0), known(float64(r.PeakMemory)/(1<<20), 0), fmt.Sprint(r.Dropped),
		})
	}
	writeTable(w, table)
}
