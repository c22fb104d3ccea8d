package runner

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever clients ask for is an amount that its currency has: the third decimal of KWD is 0. Else
// the service answers 400, and the client would ask for ever.
func TestDrawn_AmountsFitTheirCurrency(t *testing.T) {
	t.Parallel()

	c := &client{l: &workload{}, r: rand.New(rand.NewPCG(1, 2))}

	for i := range 2000 {
		key := fmt.Sprintf("key-%d", i)
		p := known{id: key, payload: drawPayload(c.r, key, firstNote)}
		c.l.payments = []known{p}

		for _, a := range []ask{
			c.drawCapture(p),
			// Sent by mistake: the same of another payment.
			c.somethingElse(key, c.drawCapture(known{payload: drawPayload(c.r, key, firstNote)})),
			c.somethingElse(key, ask{kind: kindRefund, minor: int64(c.r.IntN(1000) + 1)}),
		} {
			if a.kind != kindCreate && a.on.payload.currency == "KWD" {
				require.Zero(t, a.minor%10, "%s", a)
			}
		}
	}
}
