//go:build linux

package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	_ "github.com/presencelog/presencelog/internal/app" // so that go test does not reuse the result of older code
	"github.com/presencelog/presencelog/internal/postgres/embedded"
)

// long selects the long form: more rounds of faults whose moment is random.
var long = os.Getenv("PRESENCELOG_FAULTS") == "long"

// rounds returns how often a fault whose moment is random is repeated.
func rounds() int {
	if long {
		return 20
	}
	return 3
}

// shared is created once for all tests.
var shared struct {
	dir      string // with permissions for other users, since PostgreSQL may run as one
	once     sync.Once
	program  string // the built presencelog
	bin      string // PostgreSQL's programs
	template string // a new cluster, to be copied
	err      error
	places   atomic.Int32
}

func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", "4") // they wait more than they work
	}
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "presencelog-faults-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shared.dir = dir
	defer os.RemoveAll(dir)
	code = m.Run()
	if err := table.write(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// setUp builds the program and creates a cluster to copy, once.
func setUp(t testing.TB) {
	t.Helper()
	shared.once.Do(func() { shared.err = makeShared() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
}

func makeShared() error {
	shared.program = filepath.Join(shared.dir, "presencelog")
	build := exec.Command("go", "build", "-o", shared.program, "github.com/presencelog/presencelog/cmd/presencelog")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the program: %w\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if shared.bin, err = embedded.Find(ctx, filepath.Join(shared.dir, "npm"), slog.Default()); err != nil {
		return err
	}
	shared.template = filepath.Join(shared.dir, "template")
	if err := makeForPostgres(shared.template); err != nil {
		return err
	}
	// Small WAL segments, for the small disk.
	initdb := command(true, filepath.Join(shared.bin, "initdb"), "-D", shared.template, "-U", "postgres", "-A", "trust",
		"--encoding=UTF8", "--locale=C", "--no-sync", "--wal-segsize=1")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// place is the directory and the addresses of one test. With ports alone, a client that reconnects to a killed service
// could reach the service of another test.
type place struct {
	dir   string
	hosts atomic.Int32
	net   string
}

func newPlace(t testing.TB) *place {
	t.Helper()
	setUp(t)
	n := shared.places.Add(1)
	p := &place{
		dir: filepath.Join(shared.dir, fmt.Sprintf("%d", n)),
		net: fmt.Sprintf("127.%d.%d", 64+os.Getpid()%128, (os.Getpid()/128*64+int(n))%250),
	}
	must(t, os.Mkdir(p.dir, 0o755))
	t.Cleanup(func() {
		if !t.Failed() || os.Getenv("PRESENCELOG_FAULTS_KEEP") == "" {
			os.RemoveAll(p.dir)
		}
	})
	return p
}

// host returns an unused address of this machine.
func (p *place) host() string { return fmt.Sprintf("%s.%d", p.net, p.hosts.Add(1)) }

// smallDisk mounts a file system of this many bytes; only root can.
func smallDisk(t testing.TB, dir string, bytes int) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skipf("a small disk takes root and the right to mount: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
}

// fillDisk uses up a disk and returns a function that frees it.
func fillDisk(t testing.TB, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err := f.Write(block); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			block = block[:len(block)/2]
		}
	}
	return func() { must(t, os.Remove(name)) }
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fault is a row of the table.
type fault struct {
	name                                           string
	sent, acknowledged, found, missing, duplicated int
	setAside                                       int
}

// table collects the results of the tests.
var table results

type results struct {
	mu     sync.Mutex
	faults map[string]fault
}

func (r *results) add(f fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.faults == nil {
		r.faults = map[string]fault{}
	}
	r.faults[f.name] = f
}

func (r *results) markdown() string {
	var b strings.Builder
	b.WriteString("| fault | sent | acknowledged | found | missing | duplicated |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	var sum fault
	for _, name := range order {
		f, ok := r.faults[name]
		if !ok {
			continue
		}
		missing := fmt.Sprint(f.missing)
		if f.setAside > 0 {
			missing += fmt.Sprintf(" (%d set aside)", f.setAside)
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s | %d |\n", f.name, f.sent, f.acknowledged, f.found, missing, f.duplicated)
		sum.sent, sum.acknowledged, sum.found = sum.sent+f.sent, sum.acknowledged+f.acknowledged, sum.found+f.found
		sum.missing, sum.duplicated = sum.missing+f.missing, sum.duplicated+f.duplicated
	}
	fmt.Fprintf(&b, "| **all** | %d | %d | %d | %d | %d |\n", sum.sent, sum.acknowledged, sum.found, sum.missing, sum.duplicated)
	return b.String()
}

const (
	tableBegin = "<!-- faults: begin -->\n"
	tableEnd   = "<!-- faults: end -->"
)

// write prints the table and puts it into the file that PRESENCELOG_FAULTS_TABLE names, relative to the module's root:
// between two marks if the file has them.
func (r *results) write() error {
	if len(r.faults) == 0 {
		return nil
	}
	fmt.Printf("\n%s\n", r.markdown())
	name := os.Getenv("PRESENCELOG_FAULTS_TABLE")
	if name == "" {
		return nil
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join("..", "..", name)
	}
	text := r.markdown()
	if old, err := os.ReadFile(name); err == nil {
		before, rest, found := strings.Cut(string(old), tableBegin)
		_, after, ends := strings.Cut(rest, tableEnd)
		if found && ends {
			text = before + tableBegin + text + tableEnd + after
		}
	}
	return os.WriteFile(name, []byte(text), 0o644)
}
