package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	attemptTimeout = 10 * time.Second
	parallel       = 8 // concurrent messages to one hook
)

// notPublic are special address ranges that netip has no methods for.
var notPublic = func() (list []netip.Prefix) {
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10",
	} {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}()

// isPublic reports whether an address is on the internet: not this machine, its network, or a cloud's metadata service.
func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return ip.IsGlobalUnicast() && !ip.IsPrivate() &&
		!slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// newClient returns a client for one hook. It checks the address after resolving the name, when it connects. It follows no
// redirects and uses no proxy, since these could lead to an unchecked address.
func newClient(private bool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	if !private {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err == nil && !isPublic(to.Addr()) {
				err = fmt.Errorf("its address %s is not public; add the hook with --private if this is intended", to.Addr())
			}
			return err
		}
	}
	return &http.Client{
		Timeout:       attemptTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: parallel, MaxConnsPerHost: parallel, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 16 << 10,
		},
	}
}

var errGone = errors.New("it responded 410 Gone")

// post sends a message. Only a status of 2xx accepts it. The error has only the status of the response.
func post(ctx context.Context, client *http.Client, h *Hook, id, body string, now time.Time) error {
	signature, err := sign(h.secret, id, now, body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, strings.NewReader(body))
	if err != nil {
		return errors.New("the URL is invalid")
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"presencelog"},
		"Webhook-Id": {id}, "Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)}, "Webhook-Signature": {signature},
	}
	res, err := client.Do(req)
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the URL
		}
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	switch {
	case res.StatusCode == http.StatusGone:
		return errGone
	case res.StatusCode/100 != 2:
		return fmt.Errorf("it responded %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	}
	return nil
}
