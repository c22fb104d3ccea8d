package stripe

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/ports"
)

const (
	accountPath   = "/v1/account"
	accountPrefix = "acct_"
)

var _ ports.ProviderAccount = (*Gateway)(nil)

// API implements ports.ProviderAccount. Every event asks for it.
func (g *Gateway) API() (string, binding.Mode) { return g.host, g.mode }

// hostOf leaves out the scheme and its default port: they say how to reach the host, not
// which host it is.
func hostOf(apiBase string) string {
	u, err := url.Parse(apiBase)
	if err != nil {
		return "" // every call will fail
	}

	host := strings.ToLower(u.Host)

	switch u.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}

	return host
}

// modeOfKey reads the mode from the key's prefix (https://docs.stripe.com/keys#obtain-api-keys).
func modeOfKey(key string) binding.Mode {
	if strings.HasPrefix(key, "sk_live_") || strings.HasPrefix(key, "rk_live_") {
		return binding.Live
	}

	return binding.Test
}

// errNoAccount says that nobody can learn the account with this key at this API.
var errNoAccount = errors.New("the account cannot be read")

// Account implements ports.ProviderAccount (https://docs.stripe.com/api/accounts/retrieve).
// A restricted key may lack the permission (403), and a stand-in for Stripe may lack
// the route (404 or one like it): then the account is empty, without an error.
func (g *Gateway) Account(ctx context.Context) (string, error) {
	got, err := read(ctx, g, "get_account", accountPath, maxObject, judgeAccount)

	// The next call may be hours away. A kept connection may have died by then, and a
	// request that is written to a dead connection counts as sent.
	if idle, ok := g.network.(interface{ CloseIdleConnections() }); ok {
		idle.CloseIdleConnections()
	}

	if errors.Is(err, errNoAccount) {
		return "", nil
	}

	return got.ID, err
}

type accountAnswer struct {
	ID string `json:"id"`
}

func judgeAccount(got *accountAnswer, failed *failure) verdict {
	switch {
	case failed == nil && (!strings.HasPrefix(got.ID, accountPrefix) || !isID(got.ID)):
		return verdict{outcome: unknown, reason: ReasonMismatch, err: errMismatch}
	case failed != nil && failed.status == http.StatusUnauthorized:
		return verdict{outcome: rejected, reason: failed.reason, err: ports.ErrKeyRejected}
	case failed != nil && isMissing(failed.status):
		return verdict{outcome: rejected, reason: failed.reason, err: errNoAccount}
	default:
		return judgeRead(failed)
	}
}

// isMissing tells whether a status says that something cannot be read with this key, or that
// the API does not have it.
func isMissing(status int) bool {
	switch status {
	case http.StatusForbidden, http.StatusNotFound,
		http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	default:
		return false
	}
}
