package analyst

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// scramVerifier returns what PostgreSQL stores instead of a password (RFC 5803). Sending it keeps the password out of the
// server's log and of pg_stat_statements. Only ASCII is allowed: other characters would have to be normalized.
func scramVerifier(password string) (string, error) {
	if password == "" {
		return "", errors.New("the password is empty")
	}
	for _, r := range password {
		if r < ' ' || r > '~' {
			return "", errors.New("a password has printable ASCII characters only")
		}
	}
	const iterations = 4096 // as PostgreSQL
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	key := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(key("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]), encode(key("Server Key"))), nil
}

// URL returns the URL with which a role connects to the database of connString, with the same TLS settings. Without a password,
// clients ask for it.
func URL(connString, role, password string) (string, error) {
	config, err := pgx.ParseConfig(connString)
	if err != nil {
		return "", err
	}
	u := url.URL{Scheme: "postgresql", User: url.UserPassword(role, password), Path: "/" + config.Database}
	if password == "" {
		u.User = url.User(role)
	}
	query := url.Values{}
	if service, err := url.Parse(connString); err == nil {
		for name, values := range service.Query() {
			if strings.HasPrefix(name, "ssl") {
				query[name] = values
			}
		}
	}
	port := strconv.Itoa(int(config.Port))
	if strings.HasPrefix(config.Host, "/") { // the directory of a socket
		query.Set("host", config.Host)
		query.Set("port", port)
	} else {
		u.Host = net.JoinHostPort(config.Host, port)
	}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // libpq does not decode + as a space
	return u.String(), nil
}

// Try connects with the URL of a role.
func Try(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}
