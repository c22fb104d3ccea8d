package http

import (
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// limited counts a request against its client's rate: its key's, or its address's where no
// keys are asked for.
func (e *edge) limited(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) (answer, error) {
		client, policy, what := clientOf(r), "address", "from this address"
		if key := callerOf(r.Context()); key.ID != uuid.Nil {
			client, policy, what = "key "+key.ID.String(), "key", "with this API key"
		}

		a := e.access.Clients.Allow(r.Context(), client)
		tellLimit(w.Header(), policy, a)

		if a.Denied {
			return answer{}, fault.New(rateLimited, "Too many requests "+what+". Slow down.").
				After(max(a.RetryAfter, time.Millisecond))
		}

		return next(w, r)
	}
}

// tellLimit tells the client what it may ask for, so that it can slow down before it has to
// (draft-ietf-httpapi-ratelimit-headers-11: q requests in w seconds; r are left, and in t
// seconds there are q again).
func tellLimit(h http.Header, policy string, a ports.Allowance) {
	if a.Limit == 0 {
		return
	}

	h["Ratelimit-Policy"] = []string{`"` + policy + `";q=` + strconv.Itoa(a.Limit) + ";w=1"}
	h["Ratelimit"] = []string{`"` + policy + `";r=` + strconv.Itoa(a.Remaining) + ";t=" +
		strconv.Itoa(int(math.Ceil(a.Reset.Seconds())))}
}

// networkBits of an IPv6 address are what a provider gives one customer (RFC 6177);
// the customer chooses the rest.
const networkBits = 64

// clientOf is the client's IPv4 address or IPv6 network: the peer's, or if that is one of our
// own proxies, the right-most address in X-Forwarded-For that is none of them. What stands
// left of it anybody can have written, and so can a peer that is no proxy of ours.
func clientOf(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr // not TCP
	}

	client, proxies := peer.Addr().Unmap(), exchangeOf(r.Context()).proxies
	if len(proxies) > 0 {
		client = behind(client, r.Header.Values("X-Forwarded-For"), proxies)
	}

	if client.Is4() {
		return client.String()
	}

	network, _ := client.Prefix(networkBits) // an IPv6 address has so many bits

	return network.String()
}

// behind goes from proxy to proxy, the nearest first. What is no address ends the way: the
// proxy that has passed it on counts.
func behind(client netip.Addr, forwarded []string, proxies []netip.Prefix) netip.Addr {
	for _, values := range slices.Backward(forwarded) {
		for values != "" && isProxy(client, proxies) {
			at := strings.LastIndexByte(values, ',')

			next, err := parseForwarded(values[at+1:])
			if err != nil {
				return client
			}

			client, values = next, values[:max(at, 0)]
		}
	}

	return client
}

func isProxy(client netip.Addr, proxies []netip.Prefix) bool {
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(client.WithZone("")) })
}

// parseForwarded reads an address, with which some proxies send a port.
func parseForwarded(text string) (netip.Addr, error) {
	text = strings.TrimSpace(text)

	addr, err := netip.ParseAddr(text)
	if err != nil {
		var withPort netip.AddrPort

		withPort, err = netip.ParseAddrPort(text)
		addr = withPort.Addr()
	}

	return addr.Unmap(), err
}
