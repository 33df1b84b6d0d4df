package https_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/https"
)

// Not parallel: it sets where the system's certificates are.
func TestCertificatesComeFromAnAuthority(t *testing.T) {
	if testing.Short() || runtime.GOOS == "darwin" || runtime.GOOS == "windows" { // the latter two do not read SSL_CERT_FILE
		t.Skip("builds an authority, and sets which ones the system trusts")
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-modfile=tools/go.mod", "-o", dir+"/",
		"github.com/letsencrypt/pebble/v2/cmd/pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the authority: %v: %s", err, out)
	}
	cert, key := write(t, dir, "authority")
	t.Setenv("SSL_CERT_FILE", cert)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	dns, api, management := freePort(t), freePort(t), freePort(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", api), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", management),
		"certificate": cert, "privateKey": key, "httpPort": freePort(t), "tlsPort": port,
	}})
	if err != nil {
		t.Fatal(err)
	}
	configFile := filepath.Join(dir, "config.json")
	if err := os.WriteFile(configFile, config, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, filepath.Join(dir, "pebble-challtestsrv"), "-dnsserver", fmt.Sprintf("127.0.0.1:%d", dns), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-management", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	run(t, filepath.Join(dir, "pebble"), "-config", configFile, "-dnsserver", fmt.Sprintf("127.0.0.1:%d", dns))
	roots := x509.NewCertPool()
	eventually(t, func() error {
		res, err := http.Get(fmt.Sprintf("https://localhost:%d/roots/0", management))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err == nil && !roots.AppendCertsFromPEM(b) {
			err = fmt.Errorf("no certificate: %s", b)
		}
		return err
	})

	cache := filepath.Join(dir, "cache")
	directory := fmt.Sprintf("https://localhost:%d/dir", api)
	server := &http.Server{
		TLSConfig: https.Domains([]string{"presence.example.org"}, cache, "", directory), ErrorLog: slog.NewLogLogger(slog.NewTextHandler(t.Output(), nil), slog.LevelInfo),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "works") }),
	}
	go server.ServeTLS(listener, "", "")
	t.Cleanup(func() { server.Close() })
	handshake := func(name string) error {
		conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{ServerName: name, RootCAs: roots})
		if err != nil {
			return err
		}
		return conn.Close()
	}
	eventually(t, func() error { return handshake("presence.example.org") })
	if err := handshake("another.example.org"); err == nil {
		t.Error("it got a certificate for a domain that is not its own")
	}
	kept, err := filepath.Glob(filepath.Join(cache, "presence.example.org*"))
	if err != nil || len(kept) == 0 {
		t.Errorf("the certificate is not kept (%v)", err)
	}
}

// freePort returns a port that nobody listens on, outside of the range that the system chooses ports from: those may be taken
// before a program that is started listens on it.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("there is no free port")
	return 0
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

func eventually(t *testing.T, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
