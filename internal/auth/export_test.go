package auth

// Buckets is how many clients the failures are counted of.
func (a *Authenticator) Buckets() int {
	a.failures.mu.Lock()
	defer a.failures.mu.Unlock()
	return len(a.failures.buckets)
}

// WellFormed is wellFormed.
func WellFormed(secret string) bool { return wellFormed(secret) }
