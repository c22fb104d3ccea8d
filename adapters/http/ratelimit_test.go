package http_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever has an IPv6 address has 2^64 of them.
func TestClients_AreAddressesOrNetworks(t *testing.T) {
	t.Parallel()

	for remote, want := range map[string]string{
		"192.0.2.1:1234":                  "192.0.2.1",
		"[::ffff:192.0.2.1]:1234":         "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:1234":     "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:80":       "2001:db8:1:2::/64",
		"[2001:db8:1:3::1]:80":            "2001:db8:1:3::/64",
		"[fe80::1%eth0]:80":               "fe80::/64",
		"@":                               "@",
		"[2001:db8:1:2:3:4:5:6%zone]:443": "2001:db8:1:2::/64",
	} {
		b := setup(t)
		r := httptest.NewRequest(http.MethodGet, "/payments/x", http.NoBody)
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		b.handler.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, []string{want}, b.clients.names)
	}
}
