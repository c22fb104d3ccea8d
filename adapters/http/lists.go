package http

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

// ListPayments is the use case of GET /payments.
type ListPayments interface {
	Do(ctx context.Context, tenant operation.Tenant, values map[string][]string) (payments.ListPage, error)
	Export(
		ctx context.Context, tenant operation.Tenant, values map[string][]string, each func([]payment.Payment) error,
	) error
}

// ShowTimeline is the use case of GET /payments/{id}/timeline.
type ShowTimeline interface {
	Do(
		ctx context.Context, tenant operation.Tenant, id uuid.UUID,
	) (entries []payments.TimelineEntry, cut bool, err error)
}

// Lists is what is found and told of payments.
type Lists struct {
	list         ListPayments
	showTimeline ShowTimeline
	// exports has room for those that are under way.
	exports chan struct{}
}

// Limits of an export: how many there are at once, how long one may take, and how long a
// client may take for a page of it. Another one is told to wait for exportRetryAfter.
const (
	maxExports       = 2
	exportTimeout    = 15 * time.Minute
	exportPageWait   = 30 * time.Second
	exportRetryAfter = 10 * time.Second
)

// NewLists returns the resource.
func NewLists(list ListPayments, timeline ShowTimeline) *Lists {
	return &Lists{list: list, showTimeline: timeline, exports: make(chan struct{}, maxExports)}
}

// listBody is a page of payments.
type listBody struct {
	Data       []paymentBody `json:"data"`
	HasMore    bool          `json:"has_more"`
	NextCursor *string       `json:"next_cursor"`
}

// payments is GET /payments.
func (l *Lists) payments(w http.ResponseWriter, r *http.Request) (answer, error) {
	w.Header().Add("Vary", "Accept")

	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return answer{}, fault.Wrap(fault.Invalid, err,
			"The query cannot be read; separate parameters by & and write other characters as %XX.")
	}

	if prefersCSV(r.Header.Values("Accept")) {
		return l.export(w, r, values)
	}

	page, err := l.list.Do(r.Context(), tenantOf(r), values)
	if err != nil {
		return answer{}, err
	}

	return answer{status: http.StatusOK, body: toListBody(page)}, nil
}

func toListBody(page payments.ListPage) listBody {
	body := listBody{Data: make([]paymentBody, 0, len(page.Payments)), HasMore: page.Next != ""}
	for _, p := range page.Payments {
		body.Data = append(body.Data, toPaymentBody(p))
	}

	if page.Next != "" {
		body.NextCursor = &page.Next
	}

	return body
}

// EncodeList is a page as GET /payments answers it, for commands.
func EncodeList(page payments.ListPage) []byte { return encode(toListBody(page)) }

// prefersCSV tells whether a client asks for CSV by its name, and likes JSON less (RFC 9110
// section 12.5.1).
func prefersCSV(accept []string) bool {
	var asCSV, asJSON float64

	for wanted := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		media, params, err := mime.ParseMediaType(wanted)
		if err != nil {
			continue
		}

		quality := 1.0
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			quality = q
		}

		switch media {
		case csvMedia:
			asCSV = max(asCSV, quality)
		case jsonType:
			asJSON = max(asJSON, quality)
		}
	}

	return asCSV > asJSON
}

// rowsTrailer comes after the last row of an export, and only then (RFC 9110 section 6.5).
const rowsTrailer = "X-Rows"

// export streams everything that fits as CSV. What ends early breaks the transfer: the last
// chunk is missing (RFC 9112 section 8), so that nobody takes a part for the whole.
func (l *Lists) export(w http.ResponseWriter, r *http.Request, values url.Values) (answer, error) {
	if !r.ProtoAtLeast(1, 1) {
		return answer{}, fault.New(fault.Invalid,
			"CSV needs HTTP/1.1: before that, an answer that was cut off looks whole. Is there a proxy that speaks HTTP/1.0?")
	}

	select {
	case l.exports <- struct{}{}:
		defer func() { <-l.exports }()
	default:
		return answer{}, fault.Newf(fault.Unavailable, "There are %d exports under way already. Try again later.", maxExports).
			After(exportRetryAfter)
	}

	ctx, cancel := context.WithTimeout(r.Context(), exportTimeout)
	defer cancel()

	var (
		table   = NewCSV(w)
		control = http.NewResponseController(w)
		begun   bool
	)

	err := l.list.Export(ctx, tenantOf(r), values, func(page []payment.Payment) error {
		_ = control.SetWriteDeadline(time.Now().Add(exportPageWait))

		if !begun {
			begun = true
			h := w.Header()
			h.Set("Content-Type", csvMedia+"; charset=utf-8; header=present")
			h.Set("Content-Disposition", `attachment; filename="payments.csv"`)
			h.Set("Cache-Control", "no-store")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Trailer", rowsTrailer)
			w.WriteHeader(http.StatusOK)
		}

		if r.Method == http.MethodHead {
			return errHeadOnly
		}

		if err := table.Write(page); err != nil {
			return err
		}

		return control.Flush()
	})

	switch {
	case err == nil:
		w.Header().Set(rowsTrailer, strconv.Itoa(table.Rows()))
	case errors.Is(err, errHeadOnly):
	case !begun:
		return answer{}, err
	default:
		exchangeOf(r.Context()).err = err

		panic(http.ErrAbortHandler)
	}

	return answer{sent: true}, nil
}

// errHeadOnly ends an export of which only the headers are asked for.
var errHeadOnly = errors.New("only the headers are wanted")
