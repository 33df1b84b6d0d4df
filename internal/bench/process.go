package bench

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	startTimeout = 2 * time.Minute // for a server to respond
	stopTimeout  = 20 * time.Second
)

// process is a server under test. It is a separate process, so that its memory and CPU time can be measured.
type process struct {
	cmd    *exec.Cmd
	log    bytes.Buffer  // read it only after exited is closed
	exited chan struct{} // closed when err is set
	err    error
}

// startProcess starts a server on an unused address and waits until it has acknowledged a request. It returns the process and a
// load for it. After an error, stop the process if it is not nil.
func startProcess(ctx context.Context, command func(listen string) *exec.Cmd, bodies [][]byte) (*process, Load, Result, error) {
	listen, err := freeAddress()
	if err != nil {
		return nil, Load{}, Result{}, err
	}
	target := url.URL{Scheme: "http", Host: listen, Path: "/webhooks/zapi"}
	load := Load{URL: target.String(), Token: token, Bodies: bodies}
	p := &process{cmd: command(listen), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, load, Result{}, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	result, err := p.ready(ctx, load)
	return p, load, result, err
}

// ready sends requests of the load, one at a time, until the server acknowledges one.
func (p *process) ready(ctx context.Context, load Load) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	load.Connections, load.Requests, load.Duration = 1, 1, startTimeout
	for {
		r, err := load.Run(ctx)
		if err == nil && r.Acknowledged == 1 {
			return r, nil
		}
		select {
		case <-p.exited:
			return r, fmt.Errorf("it ended (%w): %s", p.err, &p.log)
		case <-ctx.Done():
			p.stop()
			return r, fmt.Errorf("it does not respond (%w, %v): %s", cmp.Or(err, ctx.Err()), r.Errors, &p.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop shuts the server down, or kills it.
func (p *process) stop() {
	if p.cmd.Process.Signal(os.Interrupt) == nil {
		select {
		case <-p.exited:
			return
		case <-time.After(stopTimeout):
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// peakMemory returns the peak resident memory of the server, in bytes; 0 except on Linux.
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

// freeAddress returns an unused address of this machine.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
