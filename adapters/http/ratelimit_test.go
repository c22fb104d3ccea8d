package http_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	edge "github.com/marketflow/marketflow/adapters/http"
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
		require.Equal(t, want, clientBehind(t, remote, nil, "203.0.113.9"), remote)
	}
}

// clientBehind is whom a request counts against.
func clientBehind(t *testing.T, remote string, proxies []netip.Prefix, forwarded ...string) string {
	t.Helper()

	b := setupGuarded(t, func(access *edge.Access) { access.Proxies = proxies })
	r := httptest.NewRequest(http.MethodGet, "/payments/x", http.NoBody)
	r.RemoteAddr = remote

	for _, value := range forwarded {
		r.Header.Add("X-Forwarded-For", value)
	}

	b.handler.ServeHTTP(httptest.NewRecorder(), r)
	require.Len(t, b.clients.names, 1)

	return b.clients.names[0]
}

// Only our own proxies are believed, and of what they pass on only what they have seen
// themselves.
func TestClients_BehindProxies(t *testing.T) {
	t.Parallel()

	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ff::/48")}

	for name, c := range map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"no proxy":                       {"192.0.2.1:1", nil, "192.0.2.1"},
		"a stranger's word":              {"192.0.2.1:1", []string{"203.0.113.9"}, "192.0.2.1"},
		"a proxy without a word":         {"10.0.0.1:1", nil, "10.0.0.1"},
		"one proxy":                      {"10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
		"what the client claims":         {"10.0.0.1:1", []string{"198.51.100.7, 203.0.113.9"}, "203.0.113.9"},
		"two proxies":                    {"10.0.0.1:1", []string{"198.51.100.7, 203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		"in several lines":               {"10.0.0.1:1", []string{"198.51.100.7", "203.0.113.9,10.9.9.9"}, "203.0.113.9"},
		"proxies alone":                  {"10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"nonsense":                       {"10.0.0.1:1", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		"nonsense beyond":                {"10.0.0.1:1", []string{"<script>, 203.0.113.9"}, "203.0.113.9"},
		"empty":                          {"10.0.0.1:1", []string{""}, "10.0.0.1"},
		"a comma":                        {"10.0.0.1:1", []string{"203.0.113.9,"}, "10.0.0.1"},
		"with a port":                    {"10.0.0.1:1", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		"IPv6":                           {"[2001:db8:ff::1]:1", []string{"2001:db8:1:2::9"}, "2001:db8:1:2::/64"},
		"IPv6 with a port":               {"[2001:db8:ff::1]:1", []string{"[2001:db8:1:2::9]:4711"}, "2001:db8:1:2::/64"},
		"a proxy of ours, written as v6": {"[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, clientBehind(t, c.remote, proxies, c.forwarded...))
		})
	}
}

func TestLimits_AreTold(t *testing.T) {
	t.Parallel()

	b, d := guarded(t, newFew(1000))
	b.clients.limit = 50

	answer := b.do(http.MethodGet, "/customers/x", "", "Authorization", "Bearer "+d.admit("customers:read"))
	require.Equal(t, `"key";q=50;w=1`, answer.Header().Get("RateLimit-Policy"))
	require.Equal(t, `"key";r=49;t=1`, answer.Header().Get("RateLimit"))

	open := setup(t)
	require.Empty(t, open.do(http.MethodGet, "/customers/x", "").Header().Get("RateLimit"), "there is no limit")

	open.clients.limit = 7
	require.Equal(t, `"address";q=7;w=1`, open.do(http.MethodGet, "/customers/x", "").Header().Get("RateLimit-Policy"))
}
