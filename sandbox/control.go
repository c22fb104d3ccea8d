package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// authenticatePath is where the customer of a 3-D Secure payment is sent.
	authenticatePath = "/_sandbox/authenticate/"

	defaultFaultWait = 10 * time.Second
)

var (
	errBadControl = errors.New("bad request")
	errNoObject   = errors.New("no such object")
)

// controlRoutes are the sandbox's own doors, beside Stripe's.
func (s *Sandbox) controlRoutes() http.Handler {
	mux := http.NewServeMux()

	for pattern, serve := range map[string]func(*http.Request) (any, error){
		"GET /_sandbox/health":               func(*http.Request) (any, error) { return struct{}{}, nil },
		"POST /_sandbox/faults":              s.controlAddFault,
		"GET /_sandbox/faults":               func(*http.Request) (any, error) { return s.Faults(), nil },
		"GET /_sandbox/faults/{id}":          func(r *http.Request) (any, error) { return s.Fault(r.PathValue("id")) },
		"GET /_sandbox/faults/{id}/wait":     s.controlWaitFault,
		"POST /_sandbox/faults/{id}/release": s.controlReleaseFault,
		"DELETE /_sandbox/faults/{id}":       s.controlRemoveFault,
		"DELETE /_sandbox/faults":            s.controlClearFaults,
		"POST /_sandbox/hang":                s.controlHang,
		"GET /_sandbox/hang":                 func(*http.Request) (any, error) { return s.hangState(), nil },
		"GET /_sandbox/clock":                func(*http.Request) (any, error) { return s.clockState(), nil },
		"POST /_sandbox/clock":               s.controlClock,
		"POST /_sandbox/events/{id}/resend":  s.controlResend,
		"GET /_sandbox/deliveries":           s.controlDeliveries,

		"POST /_sandbox/payment_intents/{id}/lapse": func(r *http.Request) (any, error) {
			return struct{}{}, s.Lapse(r.PathValue("id"))
		},

		"POST /_sandbox/refunds/{id}":                      s.controlRefund,
		"POST /_sandbox/payments/{id}/dispute":             s.controlOpenDispute,
		"POST /_sandbox/payments/{id}/early_fraud_warning": s.controlWarn,
		"POST /_sandbox/disputes/{id}":                     s.controlDispute,

		"POST /_sandbox/payment_methods/{id}/renew": s.controlRenew,
	} {
		mux.HandleFunc(pattern, s.control(serve))
	}

	mux.HandleFunc("/_sandbox/", s.control(func(r *http.Request) (any, error) {
		return nil, fmt.Errorf("%w: %s %s", errNoObject, r.Method, r.URL.Path)
	}))
	mux.HandleFunc("GET /_sandbox/books", s.serveBooks)
	mux.HandleFunc("POST "+dashboardPath+"{path...}", s.serveDashboard)

	for path, serve := range map[string]http.HandlerFunc{authenticatePath: s.serveAuthenticate, payPath: s.servePay} {
		mux.HandleFunc("GET "+path+"{id}", serve)
		mux.HandleFunc("POST "+path+"{id}", serve)
	}

	return s.guard(mux)
}

// guard keeps web pages of others away from the control API, which needs no key:
// those of another origin, those that reach the sandbox under a name of their
// own (DNS rebinding), and forms, which need no permission to be posted.
func (s *Sandbox) guard(doors http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	refuse := func(status int, why string) http.Handler {
		return s.control(func(*http.Request) (any, error) { return nil, &controlError{status, why} })
	}

	protection.SetDenyHandler(refuse(http.StatusForbidden, "a web page of another origin may not do this"))

	return protection.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isPage := strings.HasPrefix(r.URL.Path, authenticatePath) || strings.HasPrefix(r.URL.Path, payPath)
		media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")

		switch {
		case !fromPage(r):
		case !isPage && !s.isOwnHost(r.Host):
			refuse(http.StatusForbidden, "the sandbox is not called "+strconv.Quote(r.Host)).ServeHTTP(w, r)

			return
		case !isPage && r.Method == http.MethodPost && !strings.EqualFold(strings.TrimSpace(media), "application/json"):
			refuse(http.StatusUnsupportedMediaType, "from a web page, the Content-Type must be application/json").
				ServeHTTP(w, r)

			return
		}

		doors.ServeHTTP(w, r)
	}))
}

// fromPage tells whether a browser says that a page has sent the request, and not
// its user by typing the address.
func fromPage(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")

	return r.Header.Get("Origin") != "" || (site != "" && site != "none")
}

// isOwnHost tells whether a Host header is an address, localhost, or what
// Options.PublicURL says.
func (s *Sandbox) isOwnHost(host string) bool {
	public, err := url.Parse(s.options.PublicURL)

	return isLoopback(host) || net.ParseIP(hostname(host)) != nil || (err == nil && public.Host != "" && public.Host == host)
}

// hostname is a host without its port and brackets.
func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

// isLoopback tells whether a host, with a port or without, is this machine.
func isLoopback(host string) bool {
	name := strings.ToLower(hostname(host))
	ip := net.ParseIP(name)

	return name == "localhost" || strings.HasSuffix(name, ".localhost") || (ip != nil && ip.IsLoopback())
}

// controlError is an error with a status of its own.
type controlError struct {
	status int
	why    string
}

func (e *controlError) Error() string { return e.why }

// control answers JSON, or an error as {"error": "…"}.
func (s *Sandbox) control(serve func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, err := serve(r)
		status := http.StatusOK

		var own *controlError

		switch {
		case err == nil:
		case errors.As(err, &own):
			status = own.status
		case errors.Is(err, ErrNoFault), errors.Is(err, errNoObject):
			status = http.StatusNotFound
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
			status = http.StatusRequestTimeout
		default:
			status = http.StatusBadRequest
		}

		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}

		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)

		if err := json.NewEncoder(w).Encode(answer); err != nil {
			s.log.Debug("the client hung up before its answer", "error", err)
		}
	}
}

// decode reads a JSON body and refuses unknown fields.
func decode(r *http.Request, into any) error {
	decoder := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	decoder.DisallowUnknownFields()

	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%w: decoding the body: %w", errBadControl, err)
	}

	return nil
}

func (s *Sandbox) controlAddFault(r *http.Request) (any, error) {
	var wire faultJSON
	if err := decode(r, &wire); err != nil {
		return nil, err
	}

	return s.AddFault(wire.fault())
}

func (s *Sandbox) controlWaitFault(r *http.Request) (any, error) {
	fired, timeout := 1, defaultFaultWait

	var err error

	if text := r.FormValue("fired"); text != "" {
		if fired, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("%w: fired: %w", errBadControl, err)
		}
	}

	if text := r.FormValue("timeout"); text != "" {
		if timeout, err = time.ParseDuration(text); err != nil {
			return nil, fmt.Errorf("%w: timeout: %w", errBadControl, err)
		}
	}

	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()

	if err := s.WaitFault(ctx, r.PathValue("id"), fired); err != nil {
		return nil, err
	}

	return s.Fault(r.PathValue("id"))
}

func (s *Sandbox) controlReleaseFault(r *http.Request) (any, error) {
	if err := s.ReleaseFault(r.PathValue("id")); err != nil {
		return nil, err
	}

	return s.Fault(r.PathValue("id"))
}

func (s *Sandbox) controlRemoveFault(r *http.Request) (any, error) {
	return struct{}{}, s.RemoveFault(r.PathValue("id"))
}

func (s *Sandbox) controlClearFaults(*http.Request) (any, error) {
	s.ClearFaults()

	return struct{}{}, nil
}

func (s *Sandbox) controlHang(r *http.Request) (any, error) {
	var wire struct {
		On bool `json:"on"`
	}

	if err := decode(r, &wire); err != nil {
		return nil, err
	}

	s.Hang(wire.On)

	return s.hangState(), nil
}

func (s *Sandbox) hangState() any {
	on, caught := s.Hung()

	return struct {
		On     bool `json:"on"`
		Caught int  `json:"caught"`
	}{on, caught}
}

func (s *Sandbox) clockState() any {
	return struct {
		Now    time.Time `json:"now"`
		Offset string    `json:"offset"`
	}{s.Now(), time.Duration(s.clock.offset.Load()).String()}
}

func (s *Sandbox) controlClock(r *http.Request) (any, error) {
	var wire struct {
		Advance string `json:"advance"`
	}

	if err := decode(r, &wire); err != nil {
		return nil, err
	}

	d, err := time.ParseDuration(wire.Advance)
	if err != nil {
		return nil, fmt.Errorf("%w: advance: %w", errBadControl, err)
	}

	if err := s.MoveClock(d); err != nil {
		return nil, fmt.Errorf("%w: advance: %w", errBadControl, err)
	}

	return s.clockState(), nil
}

// controlResend sends to one endpoint where the body names one.
func (s *Sandbox) controlResend(r *http.Request) (any, error) {
	var wire struct {
		Endpoint string `json:"endpoint"`
	}

	if err := decode(r, &wire); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}

	if wire.Endpoint != "" {
		return struct{}{}, s.ResendTo(r.PathValue("id"), wire.Endpoint)
	}

	return struct{}{}, s.Resend(r.PathValue("id"))
}

// controlRenew gives the card the number's end that the body names, if any.
func (s *Sandbox) controlRenew(r *http.Request) (any, error) {
	var wire struct {
		Last4 string `json:"last4"`
	}

	if err := decode(r, &wire); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}

	return struct{}{}, s.RenewCard(r.PathValue("id"), wire.Last4)
}

func (s *Sandbox) controlDeliveries(r *http.Request) (any, error) {
	query := r.URL.Query()

	for name := range query {
		if name != "event" && name != "endpoint" {
			return nil, fmt.Errorf("%w: unknown parameter %s", errBadControl, name)
		}
	}

	return s.Deliveries(query.Get("event"), query.Get("endpoint")), nil
}

// Deliveries are those of one event, to one endpoint, or of and to all where
// they are empty, oldest event first.
func (s *Sandbox) Deliveries(event, endpoint string) []Delivery {
	found := []Delivery{}

	for _, a := range s.accounts {
		for _, item := range a.books.events.all() {
			if event != "" && item.id != event {
				continue
			}

			for _, d := range item.object.sendings() {
				if endpoint == "" || d.to.id == endpoint {
					found = append(found, *d.report())
				}
			}
		}
	}

	return found
}

// Resend delivers an event again to everyone who is subscribed to its type, or
// returns an error where there is no such event.
func (s *Sandbox) Resend(eventID string) error {
	e := s.eventAnywhere(eventID)
	if e == nil {
		return fmt.Errorf("%w: event %s", errNoObject, eventID)
	}

	e.lost.Store(false)
	e.account.webhooks.expect(e) // who has subscribed since gets it too
	e.account.saveOne(keyEvent+e.id, e.stored(), renderedSize)
	e.account.webhooks.sendNow(e)

	return nil
}

// ResendTo delivers an event again to one endpoint, subscribed to its type or
// not, or returns an error where there is no such event or endpoint.
func (s *Sandbox) ResendTo(eventID, endpointID string) error {
	e := s.eventAnywhere(eventID)
	if e == nil {
		return fmt.Errorf("%w: event %s", errNoObject, eventID)
	}

	for r := range e.account.receivers() {
		if r.id == endpointID {
			e.lost.Store(false)

			d := e.deliverTo(r)
			e.account.saveOne(keyEvent+e.id, e.stored(), renderedSize)
			e.account.webhooks.push(d)

			return nil
		}
	}

	return fmt.Errorf("%w: webhook endpoint %s", errNoObject, endpointID)
}

// serveBooks streams the books, one JSON object in each line.
func (s *Sandbox) serveBooks(w http.ResponseWriter, r *http.Request) {
	filter, err := readBooksFilter(r.URL.Query())
	if err != nil {
		s.control(func(*http.Request) (any, error) { return nil, err })(w, r)

		return
	}

	w.Header().Set("Content-Type", "application/x-ndjson")

	encoder := json.NewEncoder(w)

	for entry := range s.Books(filter) {
		if err := encoder.Encode(entry); err != nil {
			s.log.Debug("the client hung up before the end of the books", "error", err)

			return
		}
	}
}

// readBooksFilter refuses what it does not know: an answer without entries must
// mean that there are none.
func readBooksFilter(query url.Values) (BooksFilter, error) {
	filter := BooksFilter{Metadata: map[string]string{}}

	for name, values := range query {
		key, isMetadata := strings.CutPrefix(name, "metadata[")

		switch {
		case name == "kind":
			filter.Kinds = values
		case isMetadata:
			filter.Metadata[strings.TrimSuffix(key, "]")] = values[0]
		default:
			return filter, fmt.Errorf("%w: unknown parameter %s", errBadControl, name)
		}
	}

	for _, kind := range filter.Kinds {
		if !slices.Contains(bookKinds, kind) {
			return filter, fmt.Errorf("%w: unknown kind %s; there are %v", errBadControl, kind, bookKinds)
		}
	}

	return filter, nil
}
