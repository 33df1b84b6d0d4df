package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	startBound = 30 * time.Second // for a server to answer
	stopBound  = 20 * time.Second
)

// process is a server under test: in a process of its own, as it would be, with a garbage collector and a memory that
// can be told from the bench's.
type process struct {
	cmd    *exec.Cmd
	log    tail
	exited chan struct{} // closed when err is set
	err    error
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// answering returns once the server acknowledges a request of the load, of which it sends one at a time; how many that
// took does not count.
func (p *process) answering(ctx context.Context, load Load) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	load.Connections, load.Requests, load.Duration = 1, 1, startBound
	for {
		r, err := load.Run(ctx)
		if err == nil && r.Acknowledged == 1 {
			return r, nil
		}
		select {
		case <-p.exited:
			return r, fmt.Errorf("it ended (%v): %s", p.err, &p.log)
		case <-ctx.Done():
			return r, fmt.Errorf("it does not answer (%v, %v): %s", err, r.Errors, &p.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the server in good order if it can.
func (p *process) stop() {
	if p.cmd.Process.Signal(os.Interrupt) == nil {
		select {
		case <-p.exited:
			return
		case <-time.After(stopBound):
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// peakMemory returns the most resident memory that the server had so far, in bytes; 0 where Linux is not there to tell.
func (p *process) peakMemory() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, is := strings.CutPrefix(line, "VmHWM:"); is {
			kB, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kB << 10
		}
	}
	return 0
}

// cpuTime returns how long the server has kept a processor busy so far; 0 where Linux is not there to tell.
func (p *process) cpuTime() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The second field is a name in brackets, the 14th and 15th are the user's and the kernel's time in ticks of 10 ms.
	_, after, _ := bytes.Cut(stat, []byte(") "))
	fields := strings.Fields(string(after))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	kernel, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+kernel) * 10 * time.Millisecond
}

// freeAddress returns an address of this machine on which nobody listens.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	if most := 4 << 10; len(t.end) > most {
		t.end = append(t.end[:0], t.end[len(t.end)-most:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.end))
}
