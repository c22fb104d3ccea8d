package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"

	"github.com/marketflow/marketflow/sandbox"
)

// childState, when set, makes the test binary a sandbox to be killed.
const childState = "SANDBOX_TEST_STATE"

func TestMain(m *testing.M) {
	path := os.Getenv(childState)
	if path == "" {
		os.Exit(m.Run())
	}

	server, err := sandbox.Listen(context.Background(), "127.0.0.1:0", sandbox.Options{StateFile: path})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	fmt.Println(server.URL) //nolint:forbidigo // the parent reads it

	select {}
}

// child starts a sandbox in a process of its own and returns its URL and how to
// kill it.
func child(t *testing.T, path string) (url string, kill func()) {
	t.Helper()

	command := exec.CommandContext(t.Context(), os.Args[0])

	command.Env = append(os.Environ(), childState+"="+path)

	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())

	var once sync.Once

	kill = func() {
		once.Do(func() {
			_ = command.Process.Kill() // SIGKILL
			_ = command.Wait()
		})
	}
	t.Cleanup(kill)

	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)

	return strings.TrimSpace(line), kill
}

func reopen(t *testing.T, options sandbox.Options) *sandbox.Server {
	t.Helper()

	server, err := sandbox.Listen(t.Context(), "127.0.0.1:0", options)
	require.NoError(t, err)

	return server
}

// Every create that was answered is there after a SIGKILL, and its key still
// replays the same bytes.
func TestState_SurvivesSIGKILL(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "state")
	url, kill := child(t, path)

	var (
		mu       sync.Mutex
		answered = map[string]string{}
		clients  sync.WaitGroup
	)

	for n := range 4 {
		clients.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("k%d-%d", n, i)

				response, body, err := post(t.Context(), url+"/v1/payment_intents", key, intentForm())
				if err != nil || response.StatusCode != http.StatusOK {
					return
				}

				mu.Lock()
				answered[key] = body
				mu.Unlock()
			}
		})
	}

	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()

		return len(answered) > 100
	}, patience, glance)
	kill()
	clients.Wait()

	server := reopen(t, sandbox.Options{StateFile: path})
	t.Cleanup(func() { require.NoError(t, server.Close()) })

	for key, body := range answered {
		response, again := mustPost(t, server.URL+"/v1/payment_intents", key, intentForm())
		require.Equal(t, body, again)
		require.Equal(t, "true", response.Header.Get("Idempotent-Replayed"))
	}

	// At most the four that were under way had been booked and not answered.
	require.LessOrEqual(t, countIntents(server)-len(answered), 4)
}

func TestState_EverythingComesBack(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, func(n int) int {
		if n <= 3 {
			return http.StatusServiceUnavailable
		}

		return http.StatusOK
	})
	options := sandbox.Options{
		StateFile: filepath.Join(t.TempDir(), "state"), WebhookURL: rec.URL, SettleDelay: time.Hour,
		RetryBase: time.Hour,
	}

	server := reopen(t, options)
	api := newClient(server.URL)
	settled := paid(t, api, 2000, "pm_card_pendingRefund")

	refund, err := api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(settled.ID), Amount: stripe.Int64(700)})
	require.NoError(t, err)

	held := authorized(t, api, 3000)
	disputed := paid(t, api, 4000, "pm_card_createDispute")
	secret := server.WebhookSecret()
	server.Advance(time.Minute)

	books := func(s *sandbox.Server) []string {
		var lines []string
		for entry := range s.Books(sandbox.BooksFilter{Kinds: []string{"intent", "charge", "refund", "dispute"}}) {
			lines = append(lines, entry.ID+string(entry.Object))
		}

		return lines
	}

	events := func(s *sandbox.Server) []string {
		var lines []string

		list := newClient(s.URL).Events.List(&stripe.EventListParams{})
		for list.Next() {
			lines = append(lines, list.Event().ID+string(list.Event().Data.Raw))
		}

		require.NoError(t, list.Err())

		return lines
	}

	booksBefore, eventsBefore := books(server), events(server)
	require.Len(t, booksBefore, 3+3+1+1)
	rec.wait(t, 3)
	require.NoError(t, server.Close())

	server = reopen(t, options)
	t.Cleanup(func() { require.NoError(t, server.Close()) })

	api = newClient(server.URL)
	require.Equal(t, booksBefore, books(server))
	require.Equal(t, eventsBefore, events(server))
	require.Equal(t, secret, server.WebhookSecret())
	require.WithinDuration(t, time.Now().Add(time.Minute), server.Now(), 10*time.Second)

	// What was restored can be dumped as well.
	for entry := range server.Books(sandbox.BooksFilter{}) {
		require.NotContains(t, string(entry.Object), "\n")
	}

	// What had been planned goes on: retries, settling, lapsing.
	server.Advance(2 * time.Hour)
	require.Eventually(t, func() bool {
		found, err := api.Refunds.Get(refund.ID, nil)
		require.NoError(t, err)

		list := api.Events.List(&stripe.EventListParams{DeliverySuccess: new(false)})

		return found.Status == stripe.RefundStatusSucceeded && !list.Next()
	}, patience, glance)

	_, err = api.PaymentIntents.Capture(held.ID, nil)
	require.NoError(t, err)

	list := api.Disputes.List(&stripe.DisputeListParams{PaymentIntent: new(disputed.ID)})
	require.True(t, list.Next())
}

func TestState_TornEndIsCutOff(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "state")
	server := reopen(t, sandbox.Options{StateFile: path})
	ids := makeIntents(t, newClient(server.URL), 3)
	require.NoError(t, server.Close())

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text[:len(text)-10], 0o600))

	server = reopen(t, sandbox.Options{StateFile: path})
	require.Equal(t, 2, countIntents(server))

	ids = slices.Concat(ids[:2], makeIntents(t, newClient(server.URL), 1))
	require.NoError(t, server.Close())

	server = reopen(t, sandbox.Options{StateFile: path})
	t.Cleanup(func() { require.NoError(t, server.Close()) })

	var found []string
	for entry := range server.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindIntent}}) {
		found = append(found, entry.ID)
	}

	require.Equal(t, ids, found)
}

func TestState_RefusesOthers(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "state")
	server := reopen(t, sandbox.Options{StateFile: path})

	_, err := sandbox.New(sandbox.Options{StateFile: path})
	require.ErrorContains(t, err, "another sandbox")

	makeIntents(t, newClient(server.URL), 2)
	require.NoError(t, server.Close())

	text, err := os.ReadFile(path)
	require.NoError(t, err)

	text[len(text)/2] = '\n'
	require.NoError(t, os.WriteFile(path, text, 0o600))

	_, err = sandbox.New(sandbox.Options{StateFile: path})
	require.ErrorContains(t, err, "at byte")

	other := filepath.Join(t.TempDir(), "thesis.txt")
	require.NoError(t, os.WriteFile(other, []byte("Chapter 1\nIt was a dark night.\n"), 0o600))

	_, err = sandbox.New(sandbox.Options{StateFile: other})
	require.ErrorContains(t, err, "not a state file")

	_, err = sandbox.New(sandbox.Options{StateFile: filepath.Join(t.TempDir(), "none", "state")})
	require.Error(t, err)
}

// What could not be delivered goes to where the next start says.
func TestState_WebhookURLMoves(t *testing.T) {
	t.Parallel()

	nobody, rec := newRecorder(t, always(http.StatusBadGateway)), newRecorder(t, always(http.StatusOK))
	path := filepath.Join(t.TempDir(), "state")

	server := reopen(t, sandbox.Options{StateFile: path, WebhookURL: nobody.URL, RetryBase: time.Hour})
	makeIntents(t, newClient(server.URL), 1)
	nobody.wait(t, 1)
	require.NoError(t, server.Close())

	server = reopen(t, sandbox.Options{StateFile: path, WebhookURL: rec.URL, WebhookSecret: testSecret})
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	server.Advance(2 * time.Hour)

	sent := rec.wait(t, 1)[0]
	_, err := webhook.ConstructEvent(sent.body, sent.signature, testSecret)
	require.NoError(t, err)
	require.Len(t, nobody.all(), 1)

	list := newClient(server.URL).WebhookEndpoints.List(nil)
	require.True(t, list.Next())
	require.False(t, list.Next())
}

// A file that is not the sandbox's is not cut off as a torn end.
func TestState_LeavesOtherFilesAlone(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"no": "newline at its end"}`), 0o600))

	_, err := sandbox.New(sandbox.Options{StateFile: path})
	require.ErrorContains(t, err, "not a state file")

	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.JSONEq(t, `{"no": "newline at its end"}`, string(kept))
}

func TestState_TornHeaderIsWrittenAgain(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.WriteFile(path, []byte(`[{"k":"marketflow-`), 0o600))

	for range 2 {
		server := reopen(t, sandbox.Options{StateFile: path})
		require.NoError(t, server.Close())
	}
}
