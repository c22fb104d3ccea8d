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

	"github.com/marketflow/marketflow/app/disputes"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
)

// ListPayments is the use case of GET /payments.
type ListPayments interface {
	Do(ctx context.Context, tenant operation.Tenant, values map[string][]string) (payments.ListPage, error)
	Export(
		ctx context.Context, tenant operation.Tenant, values map[string][]string, each func([]payment.Payment) error,
	) error
}

// ListRefunds is the use case of GET /refunds.
type ListRefunds interface {
	Do(ctx context.Context, tenant operation.Tenant, values map[string][]string) (payments.RefundsPage, error)
	Export(
		ctx context.Context, tenant operation.Tenant, values map[string][]string, each func([]refund.Refund) error,
	) error
}

// ListDisputes is the use case of GET /disputes.
type ListDisputes interface {
	Do(ctx context.Context, tenant operation.Tenant, values map[string][]string) (disputes.Page, error)
	Export(
		ctx context.Context, tenant operation.Tenant, values map[string][]string, each func([]dispute.Dispute) error,
	) error
}

// ShowTimeline is the use case of GET /payments/{id}/timeline.
type ShowTimeline interface {
	Do(
		ctx context.Context, tenant operation.Tenant, id uuid.UUID,
	) (entries []payments.TimelineEntry, cut bool, err error)
}

// ListUseCases are what the lists call.
type ListUseCases struct {
	Payments ListPayments
	Refunds  ListRefunds
	Disputes ListDisputes
	Timeline ShowTimeline
}

// Lists is what is found, and what is told of payments.
type Lists struct {
	do ListUseCases
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
func NewLists(do ListUseCases) *Lists {
	return &Lists{do: do, exports: make(chan struct{}, maxExports)}
}

// pageBody is a part of a list.
type pageBody struct {
	Data       []any   `json:"data"`
	HasMore    bool    `json:"has_more"`
	NextCursor *string `json:"next_cursor"`
}

// toPageBody writes entries, and the cursor of what follows them, which is empty if nothing does.
func toPageBody[T any](entries []T, next string, body func(T) any) pageBody {
	page := pageBody{Data: make([]any, 0, len(entries)), HasMore: next != "", NextCursor: orNull(next)}
	for _, entry := range entries {
		page.Data = append(page.Data, body(entry))
	}

	return page
}

// found is a list that can be read page by page, or whole.
type found[T any] struct {
	// name is that of a file with all that fits.
	name   string
	page   func(ctx context.Context, tenant operation.Tenant, values map[string][]string) (entries []T, next string, err error)
	export func(ctx context.Context, tenant operation.Tenant, values map[string][]string, each func([]T) error) error
	body   func(T) any
}

// payments is GET /payments.
func (l *Lists) payments(w http.ResponseWriter, r *http.Request) (answer, error) {
	return answerList(w, r, l.exports, found[payment.Payment]{
		name: "payments", export: l.do.Payments.Export, body: paymentAnswer,
		page: func(ctx context.Context, tenant operation.Tenant, values map[string][]string) ([]payment.Payment, string, error) {
			page, err := l.do.Payments.Do(ctx, tenant, values)

			return page.Payments, page.Next, err
		},
	})
}

// refunds is GET /refunds.
func (l *Lists) refunds(w http.ResponseWriter, r *http.Request) (answer, error) {
	return answerList(w, r, l.exports, found[refund.Refund]{
		name: "refunds", export: l.do.Refunds.Export, body: refundAnswer,
		page: func(ctx context.Context, tenant operation.Tenant, values map[string][]string) ([]refund.Refund, string, error) {
			page, err := l.do.Refunds.Do(ctx, tenant, values)

			return page.Refunds, page.Next, err
		},
	})
}

// disputes is GET /disputes.
func (l *Lists) disputes(w http.ResponseWriter, r *http.Request) (answer, error) {
	return answerList(w, r, l.exports, found[dispute.Dispute]{
		name: "disputes", export: l.do.Disputes.Export, body: disputeAnswer,
		page: func(ctx context.Context, tenant operation.Tenant, values map[string][]string) ([]dispute.Dispute, string, error) {
			page, err := l.do.Disputes.Do(ctx, tenant, values)

			return page.Disputes, page.Next, err
		},
	})
}

// answerList answers with a page, or with everything that fits as CSV.
func answerList[T any](w http.ResponseWriter, r *http.Request, exports chan struct{}, l found[T]) (answer, error) {
	w.Header().Add("Vary", "Accept")

	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return answer{}, fault.Wrap(fault.Invalid, err,
			"The query cannot be read; separate parameters by & and write other characters as %XX.")
	}

	if prefersCSV(r.Header.Values("Accept")) {
		return export(w, r, exports, values, l)
	}

	entries, next, err := l.page(r.Context(), tenantOf(r), values)
	if err != nil {
		return answer{}, err
	}

	return answer{status: http.StatusOK, body: toPageBody(entries, next, l.body)}, nil
}

// EncodeList is a page as GET /payments answers it, for commands.
func EncodeList(page payments.ListPage) []byte {
	return encode(toPageBody(page.Payments, page.Next, paymentAnswer))
}

// EncodeRefunds is a page as GET /refunds answers it, for commands.
func EncodeRefunds(page payments.RefundsPage) []byte {
	return encode(toPageBody(page.Refunds, page.Next, refundAnswer))
}

// EncodeDisputes is a page as GET /disputes answers it, for commands.
func EncodeDisputes(page disputes.Page) []byte {
	return encode(toPageBody(page.Disputes, page.Next, disputeAnswer))
}

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
func export[T any](
	w http.ResponseWriter, r *http.Request, exports chan struct{}, values url.Values, l found[T],
) (answer, error) {
	if !r.ProtoAtLeast(1, 1) {
		return answer{}, fault.New(fault.Invalid,
			"CSV needs HTTP/1.1: before that, an answer that was cut off looks whole. Is there a proxy that speaks HTTP/1.0?")
	}

	select {
	case exports <- struct{}{}:
		defer func() { <-exports }()
	default:
		return answer{}, fault.Newf(fault.Unavailable, "There are %d exports under way already. Try again later.", maxExports).
			After(exportRetryAfter)
	}

	ctx, cancel := context.WithTimeout(r.Context(), exportTimeout)
	defer cancel()

	var (
		table   = newCSV(w, l.body)
		control = http.NewResponseController(w)
		begun   bool
	)

	err := l.export(ctx, tenantOf(r), values, func(page []T) error {
		_ = control.SetWriteDeadline(time.Now().Add(exportPageWait))

		if !begun {
			begun = true
			h := w.Header()
			h.Set("Content-Type", csvMedia+"; charset=utf-8; header=present")
			h.Set("Content-Disposition", `attachment; filename="`+l.name+`.csv"`)
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
