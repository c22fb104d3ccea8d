package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Forwarding is what Client.Forward does.
type Forwarding struct {
	// To gets each event as the sandbox sent it; empty: they are only heard.
	To string
	// Secret signs them anew for To. Empty: the endpoint's own, as the sandbox
	// signed them.
	Secret string
	// Events are the types to hear of (default: all), and APIVersion labels
	// them (default: the account's).
	Events     []string
	APIVersion string
	// Ready is told the secret that To has to check with, once it listens.
	Ready func(secret string)
	// Heard is told of each event and of To's answer: a status, or why there is
	// none. It may be called by several goroutines.
	Heard func(Heard)
}

// Heard is an event that was forwarded.
type Heard struct {
	ID, Type string
	Status   int // 0 where To is empty or did not answer
	Err      error
	Body     []byte
}

// errForward is returned where the sandbox refuses the endpoint.
var errForward = errors.New("forward")

const forwardTimeout = 30 * time.Second

// Forward registers a webhook endpoint of its own on the loopback interface,
// forwards what comes until the context ends, and removes the endpoint. What To
// does not accept the sandbox sends again.
func (c Client) Forward(ctx context.Context, f Forwarding) (err error) {
	to, err := url.Parse(f.To)
	if f.To != "" && (err != nil || to.Host == "" || !isWeb(to)) {
		return fmt.Errorf("%w: the URL to forward to must begin with http:// or https://", errForward)
	}

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for events: %w", err)
	}

	server := &http.Server{Handler: http.HandlerFunc(f.serve), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}
	served := make(chan error, 1)

	go func() { served <- server.Serve(listener) }()

	defer func() {
		err = errors.Join(err, server.Close())
		if failed := <-served; !errors.Is(failed, http.ErrServerClosed) {
			err = errors.Join(err, failed)
		}
	}()

	id, secret, err := c.register(ctx, f, "http://"+listener.Addr().String())
	if err != nil {
		return err
	}

	f.Ready(orDefault(f.Secret, secret))

	<-ctx.Done()

	// The context is over, and the endpoint still has to go.
	status, answer, err := c.Call(context.WithoutCancel(ctx), http.MethodDelete, "/v1/webhook_endpoints/"+id, "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%w: %d %s", errForward, status, pick(answer, "error.message"))
	}

	if err != nil {
		return fmt.Errorf("removing the endpoint %s: %w", id, err)
	}

	return nil
}

func (c Client) register(ctx context.Context, f Forwarding, at string) (id, secret string, err error) {
	form := url.Values{"url": {at}, "description": {"marketflow sandbox listen"}, "enabled_events[]": f.Events}
	if len(f.Events) == 0 {
		form.Set("enabled_events[]", "*")
	}

	if f.APIVersion != "" {
		form.Set("api_version", f.APIVersion)
	}

	status, answer, err := c.Call(ctx, http.MethodPost, "/v1/webhook_endpoints", form.Encode())
	if err != nil {
		return "", "", err
	}

	if status != http.StatusOK {
		return "", "", fmt.Errorf("%w: the sandbox refuses the endpoint: %d %s", errForward, status, pick(answer, "error.message"))
	}

	return pick(answer, "id"), pick(answer, "secret"), nil
}

// serve forwards one event and answers the sandbox as it was answered.
func (f Forwarding) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)

		return
	}

	var event struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	}

	heard := Heard{Body: body}
	if err := json.Unmarshal(body, &event); err == nil {
		heard.ID, heard.Type = event.ID, event.Type
	}

	answer := http.StatusOK

	if f.To != "" {
		heard.Status, heard.Err = f.post(r, body)

		answer = heard.Status
		if heard.Err != nil {
			answer = http.StatusBadGateway
		}
	}

	f.Heard(heard)
	w.WriteHeader(answer)
}

func (f Forwarding) post(r *http.Request, body []byte) (status int, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), forwardTimeout)
	defer cancel()

	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.To, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("making the request: %w", err)
	}

	signature := r.Header.Get("Stripe-Signature")
	if f.Secret != "" {
		signature = Sign(body, f.Secret, time.Now())
	}

	setDeliveryHeaders(request.Header, signature)

	// A redirect is an answer, and not followed: so it is for Stripe.
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

	response, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("forwarding: %w", err)
	}

	_, _ = io.CopyN(io.Discard, response.Body, maxBody)
	_ = response.Body.Close()

	return response.StatusCode, nil
}
