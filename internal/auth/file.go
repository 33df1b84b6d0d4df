package auth

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// The webhook tokens are also stored in a file, so that a service that starts while the database is unavailable can authorize
// gateways. The file has only digests.

type fileToken struct {
	ID        int32      `json:"id"`
	Name      string     `json:"name"`
	Digest    []byte     `json:"digest"`
	Instances []string   `json:"instances"`
	ExpiresAt *time.Time `json:"expiresAt"`
	RevokedAt *time.Time `json:"revokedAt"`
}

func (a *Authenticator) readFile() []Token {
	if a.config.File == "" {
		return nil
	}
	content, err := os.ReadFile(a.config.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var stored []fileToken
	if err == nil {
		err = json.Unmarshal(content, &stored)
	}
	if err != nil {
		a.config.Log.Warn("reading the file of webhook tokens", "file", a.config.File, "error", err)
		a.fileFailed = true
	}
	var tokens []Token
	for _, t := range stored {
		if len(t.Digest) == len(digest{}) {
			tokens = append(tokens, Token{
				ID: t.ID, Name: t.Name, Scopes: []Scope{Webhook}, Instances: t.Instances, ExpiresAt: t.ExpiresAt, RevokedAt: t.RevokedAt,
				digest: digest(t.Digest),
			})
		}
	}
	a.inFile = content
	return tokens
}

// writeFile writes the file if the tokens have changed.
func (a *Authenticator) writeFile(tokens []Token) {
	if a.config.File == "" {
		return
	}
	stored := []fileToken{}
	for _, t := range tokens {
		if slices.Contains(t.Scopes, Webhook) {
			stored = append(stored, fileToken{t.ID, t.Name, t.digest[:], t.Instances, t.ExpiresAt, t.RevokedAt})
		}
	}
	content, err := json.Marshal(stored)
	if err != nil || string(content) == string(a.inFile) || len(stored) == 0 && a.inFile == nil {
		return
	}
	if err := replaceFile(a.config.File, content); err != nil {
		a.fileErrors.Do(func() { a.config.Log.Warn("writing the file of webhook tokens", "file", a.config.File, "error", err) })
		return
	}
	a.inFile = content
}

// replaceFile writes a file so that after a crash it has either its old content or the new one.
func replaceFile(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
