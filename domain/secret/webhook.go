package secret

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
)

const (
	webhookPrefix = "whsec_"
	// Stripe's have 32 characters after the prefix.
	leastWebhook = len(webhookPrefix) + 32
	mostWebhook  = 512
	hintSize     = 4
)

// Webhook is a secret with which the provider signs its events, as it is kept.
type Webhook struct {
	ID uuid.UUID
	// Hint is its last characters, by which people know it.
	Hint   string
	Sealed Sealed
	// CreatedBy is who added it.
	CreatedBy string
	// ExpiresAt is zero if it works until it is removed. LastUsedAt lags a minute or two behind.
	CreatedAt, ExpiresAt, LastUsedAt time.Time
}

// Place is where its sealed text belongs.
func (w Webhook) Place() Place { return PlaceOfWebhook(w.ID) }

// PlaceOfWebhook is where the sealed text of a webhook secret belongs.
func PlaceOfWebhook(id uuid.UUID) Place { return Place{Table: "webhook_secrets", Row: id.String()} }

// Usable tells whether events may be signed with it at a time.
func (w Webhook) Usable(now time.Time) bool { return w.ExpiresAt.IsZero() || now.Before(w.ExpiresAt) }

// HintOf is what may be shown of a webhook secret. One that has not the form of the provider's
// is fault.Invalid, which does not show it.
func HintOf(text string) (string, error) {
	switch {
	case !strings.HasPrefix(text, webhookPrefix), strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fault.New(fault.Invalid, "This is not a webhook's signing secret: it must be one word that begins with whsec_.")
	case len(text) < leastWebhook:
		return "", fault.New(fault.Invalid, "The secret is too short; a part of it is missing.")
	case len(text) > mostWebhook:
		return "", fault.New(fault.Invalid, "The secret is too long.")
	default:
		return text[len(text)-hintSize:], nil
	}
}
