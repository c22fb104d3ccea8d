package http

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/marketflow/marketflow/domain/fault"
)

// limited counts a request against its client's rate.
func (e *edge) limited(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) (answer, error) {
		client, what := clientOfLimit(r)

		allowed, wait := e.access.Clients.Allow(r.Context(), client)
		if !allowed {
			return answer{}, fault.New(rateLimited, "Too many requests "+what+". Slow down.").
				After(max(wait, time.Millisecond))
		}

		return next(w, r)
	}
}

// networkBits of an IPv6 address are what a provider gives one customer (RFC 6177);
// the customer chooses the rest.
const networkBits = 64

// clientOf is the peer's IPv4 address or IPv6 network. Forwarded headers are not
// believed: anybody can send them.
func clientOf(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr // not TCP
	}

	addr := peer.Addr().Unmap()
	if addr.Is4() {
		return addr.String()
	}

	network, _ := addr.Prefix(networkBits) // an IPv6 address has so many bits

	return network.String()
}
