package tenants

import (
	"context"
	"time"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Audit reads who has done what.
type Audit struct {
	store ports.Audit
	spans ports.Spans
}

// NewAudit returns the use case.
func NewAudit(store ports.Audit, spans ports.Spans) *Audit { return &Audit{store: store, spans: spans} }

// AuditPage is a part of the audit.
type AuditPage struct {
	Entries []ports.AuditEntry
	More    bool
}

// Do returns up to limit entries before a position, newest first.
func (uc *Audit) Do(
	ctx context.Context, owner operation.Tenant, filter ports.AuditFilter, before ports.AuditPosition, limit int,
) (AuditPage, error) {
	return ports.InSpan(ctx, uc.spans, "app.ListAudit", func(ctx context.Context) (AuditPage, error) {
		found, err := uc.store.ListAudit(ctx, owner, filter, before, limit+1)
		if err != nil || len(found) <= limit {
			return AuditPage{Entries: found}, err
		}

		return AuditPage{Entries: found[:limit], More: true}, nil
	})
}

// Until is until when the audit is complete: see ports.Audit.
func (uc *Audit) Until(ctx context.Context) (time.Time, error) { return uc.store.AuditedUntil(ctx) }

// exportPage is how many entries an export reads at once.
const exportPage = 500

// Export gives each all entries before a position, newest first, in pages. An error of its ends
// the export. It is called at least once.
func (uc *Audit) Export(
	ctx context.Context, owner operation.Tenant, filter ports.AuditFilter, before ports.AuditPosition,
	each func([]ports.AuditEntry) error,
) error {
	for {
		page, err := uc.Do(ctx, owner, filter, before, exportPage)
		if err != nil {
			return err
		}

		if err := each(page.Entries); err != nil || !page.More {
			return err
		}

		last := page.Entries[len(page.Entries)-1]
		before = ports.AuditPosition{At: last.At, ID: last.ID}
	}
}
