package sandbox

import "math/rand/v2"

const idAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Lengths of the random parts, as Stripe's ids have them.
const (
	idLength           = 24
	requestIDLength    = 14
	clientSecretLength = 25
	webhookKeyLength   = 32
)

// newID returns a fresh id such as pi_3MtwBwLkdIwHu7ix28a3tqPa for the prefix
// pi_3: Stripe begins what belongs to a PaymentIntent with a 3 and other
// objects with a 1.
func newID(prefix string) string { return randomText(prefix, idLength-1) }

func newRequestID() string { return randomText("req_", requestIDLength) }

func newClientSecret(intentID string) string {
	return randomText(intentID+"_secret_", clientSecretLength)
}

// NewWebhookSecret returns a signing secret in Stripe's form, whsec_….
func NewWebhookSecret() string { return randomText("whsec_", webhookKeyLength) }

// randomText appends n random characters to a prefix. The generator is the
// runtime's ChaCha8: fast and safe for many goroutines. Nothing here protects
// real money, so it need not be crypto/rand.
func randomText(prefix string, n int) string {
	const (
		bitsPerChar  = 6
		charsPerWord = 10
	)

	text := make([]byte, len(prefix), len(prefix)+n)
	copy(text, prefix)

	for word, left := uint64(0), 0; len(text) < cap(text); {
		if left == 0 {
			word, left = rand.Uint64(), charsPerWord //nolint:gosec // see above
		}

		if i := word & (1<<bitsPerChar - 1); i < uint64(len(idAlphabet)) {
			text = append(text, idAlphabet[i])
		}

		word >>= bitsPerChar
		left--
	}

	return string(text)
}
