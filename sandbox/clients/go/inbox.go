// Package clients holds the sandbox against Stripe's official clients for Go. Each
// package beneath it tells the same stories through one of them.
package clients

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is far above what a delivery on one machine takes.
const patience = 30 * time.Second

// SandboxURL is where the sandbox under test listens; ../run.sh starts one.
func SandboxURL(t *testing.T) string {
	t.Helper()

	base := os.Getenv("SANDBOX_URL")
	if base == "" {
		t.Fatal("SANDBOX_URL is not set: run ../run.sh go")
	}

	return base
}

// Delivery is a webhook as it arrived.
type Delivery struct {
	Body      []byte
	Signature string
}

// Inbox receives webhooks and keeps them.
type Inbox struct {
	URL string

	mu         sync.Mutex
	deliveries []Delivery
	news       chan struct{} // closed when there is one more
}

// OpenInbox receives webhooks until the test ends.
func OpenInbox(t *testing.T) *Inbox {
	t.Helper()

	inbox := &Inbox{news: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(inbox.receive))
	t.Cleanup(server.Close)

	inbox.URL = server.URL

	return inbox
}

func (in *Inbox) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)

		return
	}

	in.mu.Lock()
	defer in.mu.Unlock()

	in.deliveries = append(in.deliveries, Delivery{Body: body, Signature: r.Header.Get("Stripe-Signature")})

	close(in.news)
	in.news = make(chan struct{})
}

// Delivered waits for an event of a type about an object.
func (in *Inbox) Delivered(t *testing.T, kind, id string) Delivery {
	t.Helper()

	for {
		found, news := in.find(kind, id)
		if found != nil {
			return *found
		}

		select {
		case <-news:
		case <-time.After(patience):
			t.Fatalf("no webhook %s of %s came", kind, id)
		}
	}
}

func (in *Inbox) find(kind, id string) (*Delivery, <-chan struct{}) {
	in.mu.Lock()
	defer in.mu.Unlock()

	for i := range in.deliveries {
		var event struct {
			Type string `json:"type"`
			Data struct {
				Object struct {
					ID string `json:"id"`
				} `json:"object"`
			} `json:"data"`
		}

		err := json.Unmarshal(in.deliveries[i].Body, &event)
		if err == nil && event.Type == kind && event.Data.Object.ID == id {
			return &in.deliveries[i], nil
		}
	}

	return nil, in.news
}

// Authenticate answers a 3-D Secure page as its customer: approve or decline. It
// returns where the browser is sent then.
func Authenticate(t *testing.T, page, result string) string {
	t.Helper()

	form := strings.NewReader(url.Values{"result": {result}}.Encode())

	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, page, form)
	if err != nil {
		t.Fatal(err)
	}

	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	// A RoundTripper follows no redirect: the shop at the other end does not exist.
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}

	err = response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}

	return response.Header.Get("Location")
}
