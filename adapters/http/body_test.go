package http_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// wire is a connection to a real server.
type wire struct {
	t    *testing.T
	conn net.Conn
	read *bufio.Reader
}

func dial(t *testing.T, b *testBundle) *wire {
	t.Helper()

	server := httptest.NewServer(b.handler)
	t.Cleanup(server.Close)

	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))

	return &wire{t, conn, bufio.NewReader(conn)}
}

func (w *wire) send(text string) {
	w.t.Helper()

	_, err := io.WriteString(w.conn, text)
	require.NoError(w.t, err)
}

// answer reads one: its status, and whether the connection ends with it.
func (w *wire) answer() (status int, last bool) {
	w.t.Helper()

	response, err := http.ReadResponse(w.read, nil)
	require.NoError(w.t, err)

	_, err = io.ReadAll(response.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, response.Body.Close())

	return response.StatusCode, response.Close
}

// ended waits for the end of the connection.
func (w *wire) ended() {
	w.t.Helper()

	_, err := w.read.ReadByte()
	require.Error(w.t, err)
	require.NotErrorIs(w.t, err, context.DeadlineExceeded)
}

// What cannot be taken is refused while its body is still awaited.
func TestBody_IsNotAwaited(t *testing.T) {
	t.Parallel()

	const post = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nStripe-Signature: %s\r\n%s\r\n\r\n"

	for name, c := range map[string]struct {
		path, signature, length string
		status                  int
	}{
		"no signature":          {"/webhooks/stripe", "", "Content-Length: 1000000", http.StatusUnauthorized},
		"malformed":             {"/webhooks/stripe", "nonsense", "Content-Length: 1000000", http.StatusUnauthorized},
		"half a hash":           {"/webhooks/stripe", forged()[:20], "Content-Length: 9", http.StatusUnauthorized},
		"of last hour":          {"/webhooks/stripe", signatureAt(-time.Hour), "Content-Length: 10", http.StatusUnauthorized},
		"of next hour":          {"/webhooks/stripe", signatureAt(time.Hour), "Content-Length: 10", http.StatusUnauthorized},
		"chunked, no signature": {"/webhooks/stripe", "", "Transfer-Encoding: chunked", http.StatusUnauthorized},
		"too long":              {"/webhooks/stripe", forged(), "Content-Length: 1048577", http.StatusRequestEntityTooLarge},
		"far too long":          {"/webhooks/stripe", forged(), "Content-Length: 900000000000", http.StatusRequestEntityTooLarge},
		"a payment too long":    {"/payments", "", "Content-Length: 262145", http.StatusRequestEntityTooLarge},
		"no such route":         {"/nowhere", "", "Content-Length: 1000", http.StatusNotFound},
		"another method":        {"/metrics", "", "Content-Length: 1000", http.StatusMethodNotAllowed},
		"asks first":            {"/webhooks/stripe", "", "Expect: 100-continue\r\nContent-Length: 1000", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := dial(t, setup(t))
			w.send(fmt.Sprintf(post, c.path, c.signature, c.length))

			status, last := w.answer()
			require.Equal(t, c.status, status)
			require.True(t, last)
			w.ended()
		})
	}
}

// A client that is refused in the middle of its body can still read why.
func TestBody_TheAnswerIsNotOvertaken(t *testing.T) {
	t.Parallel()

	w := dial(t, setup(t))
	body := strings.Repeat("x", 900_000)
	w.send("POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n" + body)

	status, _ := w.answer()
	require.Equal(t, http.StatusUnauthorized, status)
	w.ended()
}

// A body that dribbles is cut off, whatever its signature looks like.
func TestBody_MustArriveInTime(t *testing.T) {
	t.Parallel()

	post := "POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: " + forged() + "\r\n"

	for name, head := range map[string]string{
		"webhook": post + "Content-Length: 100\r\n\r\n{",
		"chunked": post + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		"payment": "POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := dial(t, setup(t))
			begun := time.Now()

			w.send(head)

			status, _ := w.answer()
			require.Equal(t, http.StatusRequestTimeout, status)
			require.Less(t, time.Since(begun), 20*time.Second)
			w.ended()
		})
	}
}

// Once a body is there, its time no longer runs, and the connection is used again.
func TestBody_TheConnectionLivesOn(t *testing.T) {
	t.Parallel()

	w := dial(t, setup(t))

	for range 3 {
		signature := sandbox.Sign([]byte(event), webhookSecret, time.Now())
		w.send("POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: " + signature +
			"\r\nContent-Length: " + strconv.Itoa(len(event)) + "\r\n\r\n" + event)

		status, last := w.answer()
		require.Equal(t, http.StatusOK, status)
		require.False(t, last)
	}
}

// One signed event may have the whole megabyte, and not a byte more.
func TestBody_OneMegabyte(t *testing.T) {
	t.Parallel()

	for _, chunked := range []bool{false, true} {
		for size, want := range map[int]int{1 << 20: http.StatusOK, 1<<20 + 1: http.StatusRequestEntityTooLarge} {
			b := setup(t)
			server := httptest.NewServer(b.handler)
			t.Cleanup(server.Close)

			padded := strings.Replace(event, `{`, `{"pad":"`+strings.Repeat("x", size-len(event)-len(`"pad":"",`))+`",`, 1)
			require.Len(t, padded, size)

			var body io.Reader = strings.NewReader(padded)
			if chunked {
				body = io.MultiReader(body) // of no known length
			}

			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/webhooks/stripe", body)
			require.NoError(t, err)
			r.Header.Set("Stripe-Signature", sandbox.Sign([]byte(padded), webhookSecret, time.Now()))

			answer, err := server.Client().Do(r)
			require.NoError(t, err)
			require.NoError(t, answer.Body.Close())
			require.Equal(t, want, answer.StatusCode, "%d bytes, chunked: %t", size, chunked)
		}
	}
}
