package http

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// actorHeader names for whom a client acts, such as the person at its desk.
const actorHeader = "X-Actor"

// completeUntilHeader tells before when no entry of the audit appears any more.
const completeUntilHeader = "X-Complete-Until"

// maxActor is the longest value of actorHeader, in characters.
const maxActor = 255

// actorOf is who sends a request: its key, and for whom, as it says.
func actorOf(r *http.Request) (ports.Actor, error) {
	var actor ports.Actor
	if key := callerOf(r.Context()); key.ID != uuid.Nil {
		actor.Name = key.Actor()
	}

	switch values := r.Header.Values(actorHeader); {
	case len(values) == 0:
	case len(values) > 1 || !isActor(values[0]):
		return actor, fault.Newf(fault.Invalid, "%s must be one name of 1 to %d printable characters", actorHeader, maxActor)
	default:
		actor.OnBehalfOf = values[0]
	}

	return actor, nil
}

func isActor(name string) bool {
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= maxActor &&
		!strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) })
}

// ReadAudit is the use case of GET /audit.
type ReadAudit interface {
	Until(ctx context.Context) (time.Time, error)
	Do(
		ctx context.Context, owner operation.Tenant, filter ports.AuditFilter, before ports.AuditPosition, limit int,
	) (tenants.AuditPage, error)
	Export(
		ctx context.Context, owner operation.Tenant, filter ports.AuditFilter, before ports.AuditPosition,
		each func([]ports.AuditEntry) error,
	) error
}

// Audit is the resource /audit.
type Audit struct {
	read    ReadAudit
	exports chan struct{}
}

// NewAudit returns the resource.
func NewAudit(read ReadAudit) *Audit {
	return &Audit{read: read, exports: make(chan struct{}, maxExports)}
}

// list is GET /audit.
func (a *Audit) list(w http.ResponseWriter, r *http.Request) (answer, error) {
	w.Header().Add("Vary", "Accept")

	query, err := customerQueryOf(r, "actor", "action", "object_id", "at[gte]", "at[gt]", "at[lte]", "at[lt]", "limit", "cursor")
	if err != nil {
		return answer{}, err
	}

	filter, before, err := query.audit()
	if err != nil {
		return answer{}, err
	}

	// It is asked for before the entries are read.
	until, err := a.read.Until(r.Context())
	if err != nil {
		return answer{}, err
	}

	w.Header().Set(completeUntilHeader, toTime(until))

	owner := operation.DefaultTenant
	if key := callerOf(r.Context()); key.ID != uuid.Nil {
		owner = key.Tenant
	}

	if prefersCSV(r.Header.Values("Accept")) {
		return a.export(w, r, owner, filter, before)
	}

	limit, err := query.limit()
	if err != nil {
		return answer{}, err
	}

	if query.Get("cursor") != "" {
		position, err := query.position()
		if err != nil {
			return answer{}, err
		}

		before = ports.AuditPosition{At: position.CreatedAt, ID: position.ID}
	}

	page, err := a.read.Do(r.Context(), owner, filter, before, limit)
	if err != nil {
		return answer{}, err
	}

	body := pageBody{Data: make([]any, 0, len(page.Entries)), HasMore: page.More}
	for _, one := range page.Entries {
		body.Data = append(body.Data, toAuditBody(one))
	}

	if n := len(page.Entries); page.More && n > 0 {
		body.NextCursor = new(query.cursor(page.Entries[n-1].At, page.Entries[n-1].ID))
	}

	return answer{status: http.StatusOK, body: body}, nil
}

// audit is which entries are wanted.
func (q customerQuery) audit() (filter ports.AuditFilter, before ports.AuditPosition, err error) {
	filter = ports.AuditFilter{
		Actor: q.Get("actor"), Action: ports.AuditAction(q.Get("action")), ObjectID: q.Get("object_id"),
	}

	for _, text := range []string{filter.Actor, string(filter.Action), filter.ObjectID} {
		if text != "" && !isActor(text) {
			return filter, before, fault.Newf(fault.Invalid, "actor, action and object_id have at most %d printable characters", maxActor)
		}
	}

	if filter.From, err = q.bound("at[gte]", "at[gt]"); err == nil {
		before.At, err = q.bound("at[lt]", "at[lte]")
	}

	return filter, before, err
}

// auditBody is an entry. Keys are only ever added at the end.
type auditBody struct {
	ID         uuid.UUID      `json:"id"`
	At         string         `json:"at"`
	Actor      *string        `json:"actor"`
	OnBehalfOf *string        `json:"on_behalf_of"`
	Action     string         `json:"action"`
	ObjectType string         `json:"object_type"`
	ObjectID   string         `json:"object_id"`
	Reason     *string        `json:"reason"`
	Before     map[string]any `json:"before"`
	After      map[string]any `json:"after"`
	RequestID  *string        `json:"request_id"`
}

// auditLine is an entry as commands print it, which see all tenants'.
type auditLine struct {
	auditBody

	// Tenant is null for what is the installation's.
	Tenant *operation.Tenant `json:"tenant"`
}

func toAuditBody(e ports.AuditEntry) auditBody {
	return auditBody{
		ID: e.ID, At: toTime(e.At), Actor: orNull(e.Actor), OnBehalfOf: orNull(e.OnBehalfOf), Action: string(e.Action),
		ObjectType: e.ObjectType, ObjectID: e.ObjectID, Reason: orNull(e.Reason), Before: e.Before, After: e.After,
		RequestID: orNull(e.RequestID),
	}
}

// EncodeAuditEntry is an entry as GET /audit lists it, and whose it is, for commands.
func EncodeAuditEntry(e ports.AuditEntry) []byte {
	return encode(auditLine{toAuditBody(e), orNull(e.Tenant)})
}

// AuditCSV writes the audit as a table, with a column for each key of an entry.
type AuditCSV struct {
	out   *csv.Writer
	begun bool
	rows  int
}

// NewAuditCSV returns a table without rows.
func NewAuditCSV(w io.Writer) *AuditCSV {
	out := csv.NewWriter(w)
	out.UseCRLF = true

	return &AuditCSV{out: out}
}

// Rows is how many entries were written.
func (c *AuditCSV) Rows() int { return c.rows }

// Write writes entries, and before the first ones the heading.
func (c *AuditCSV) Write(entries []ports.AuditEntry) error {
	if !c.begun {
		c.begun = true
		_ = c.out.Write([]string{ // Flush has its error
			"id", "at", "actor", "on_behalf_of", "action", "object_type", "object_id", "reason", "before", "after", "request_id",
			"tenant",
		})
	}

	for _, e := range entries {
		cells := []string{
			e.ID.String(), toTime(e.At), e.Actor, e.OnBehalfOf, string(e.Action), e.ObjectType, e.ObjectID, e.Reason,
			changeCell(e.Before), changeCell(e.After), e.RequestID, tenantCell(e.Tenant),
		}
		for i, cell := range cells {
			cells[i] = harmless([]byte(cell))
		}

		_ = c.out.Write(cells)
		c.rows++
	}

	c.out.Flush()

	if err := c.out.Error(); err != nil {
		return fmt.Errorf("writing rows: %w", err)
	}

	return nil
}

// tenantCell is empty for what is the installation's.
func tenantCell(t operation.Tenant) string {
	if t == 0 {
		return ""
	}

	return strconv.Itoa(int(t))
}

func changeCell(change map[string]any) string {
	if change == nil {
		return ""
	}

	return string(encode(change))
}

// export streams the audit as the list of payments is streamed: what ends early breaks the
// transfer.
func (a *Audit) export(
	w http.ResponseWriter, r *http.Request, owner operation.Tenant, filter ports.AuditFilter, before ports.AuditPosition,
) (answer, error) {
	select {
	case a.exports <- struct{}{}:
		defer func() { <-a.exports }()
	default:
		return answer{}, fault.Newf(fault.Unavailable, "There are %d exports under way already. Try again later.", maxExports).
			After(exportRetryAfter)
	}

	if !r.ProtoAtLeast(1, 1) {
		return answer{}, fault.New(fault.Invalid, "CSV needs HTTP/1.1: before that, an answer that was cut off looks whole.")
	}

	ctx, cancel := context.WithTimeout(r.Context(), exportTimeout)
	defer cancel()

	table, control := NewAuditCSV(w), http.NewResponseController(w)

	err := a.read.Export(ctx, owner, filter, before, func(page []ports.AuditEntry) error {
		_ = control.SetWriteDeadline(time.Now().Add(exportPageWait))

		if !table.begun {
			h := w.Header()
			h.Set("Content-Type", csvMedia+"; charset=utf-8; header=present")
			h.Set("Content-Disposition", `attachment; filename="audit.csv"`)
			h.Set("Cache-Control", "no-store")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Trailer", rowsTrailer)
			w.WriteHeader(http.StatusOK)
		}

		if r.Method == http.MethodHead {
			table.begun = true

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
	case !table.begun:
		return answer{}, err
	default:
		exchangeOf(r.Context()).err = err

		panic(http.ErrAbortHandler)
	}

	return answer{sent: true}, nil
}
