package http

import (
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/marketflow/marketflow/domain/fault"
)

const signatureHeader = "Stripe-Signature"

// fromOutside: the only paths that belong on the internet. Whoever asks there is a
// stranger until the signature is verified.
func fromOutside(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/webhooks/") }

// plainPath lets through what is spelled in the one way that the routes are. None
// needs an escape, and a proxy that keeps a route from the outside compares the
// path as it was sent (RFC 3986 section 6.2.2: others may take both for the same).
func (s *server) plainPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _, _ := strings.Cut(r.RequestURI, "?")

		clean := path.Clean(r.URL.Path)
		if strings.Contains(sent, "%") || r.URL.Path != clean && r.URL.Path != clean+"/" {
			s.notFound(w, r)

			return
		}

		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses what a browser sends on behalf of a web page of another
// origin. Backends send neither Sec-Fetch-Site nor Origin and are not touched.
func (s *server) sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := protection.Check(r); err != nil {
			s.fail(r.Context(), w, fault.Wrap(crossOrigin, err,
				"A web page of another origin may not use this API; send requests from a backend."))

			return
		}

		next.ServeHTTP(w, r)
	})
}

// limited counts a request against its client's rate.
func (s *server) limited(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowed, wait := s.Limiter.Allow(r.Context(), clientOf(r))
		if !allowed {
			s.fail(r.Context(), w, fault.New(rateLimited,
				"Too many requests from this address. Slow down.").After(max(wait, time.Millisecond)))

			return
		}

		next(w, r)
	})
}

// signed refuses what the signature's form and time show not to be Stripe's, before
// a byte of the body is read.
func (s *server) signed(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.HandleEvent.Check(r.Header.Get(signatureHeader)); err != nil {
			s.failUnsigned(w, r, err)

			return
		}

		next(w, r)
	})
}

// failUnsigned answers what Stripe did not sign, and counts it against the
// address. Only failures count, and who has failed too often is still read where
// the signature may be right: Stripe may share a proxy's address with anybody.
func (s *server) failUnsigned(w http.ResponseWriter, r *http.Request, err error) {
	if allowed, wait := s.Unsigned.Allow(r.Context(), clientOf(r)); !allowed {
		err = fault.Wrap(rateLimited, err, "Too many requests without a valid signature from this address.").
			After(max(wait, time.Millisecond))
	}

	s.fail(r.Context(), w, err)
}

// networkBits of an IPv6 address are what a provider gives one customer (RFC 6177);
// the rest is the customer's to choose.
const networkBits = 64

// clientOf is the peer's address; of an IPv6 address the network. Forwarded headers
// are not believed: anybody can send them.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}

	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Is4() {
		return host
	}

	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}

	network, _ := addr.Prefix(networkBits) // an IPv6 address has so many bits

	return network.String()
}
