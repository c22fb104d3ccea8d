package payments

import (
	"context"
	"time"

	"github.com/marketflow/marketflow/ports"
)

// IndexMetadata keeps the index by which payments are found by their metadata. Every process
// runs it.
type IndexMetadata struct{ index ports.MetadataIndex }

// NewIndexMetadata returns the use case.
func NewIndexMetadata(index ports.MetadataIndex) *IndexMetadata { return &IndexMetadata{index} }

const (
	// metadataSettles is how long a name must have been in the configuration of all processes
	// before older payments are looked at: from then on no payment is written without its
	// entry. It is several of the intervals at which a process says that it lacks a name.
	metadataSettles = 10 * time.Minute
	// metadataStep is how many payments one statement looks at: some milliseconds of work.
	metadataStep = 500
)

// Report says which names this process has. It is called before anything is written.
func (uc *IndexMetadata) Report(ctx context.Context) error { return uc.index.ReportMetadataNames(ctx) }

// Do looks at some payments that are older than a name. Without a name in its result there
// is nothing to do now. It makes no span: most steps find nothing, or are one of thousands.
func (uc *IndexMetadata) Do(ctx context.Context) (ports.MetadataProgress, error) {
	return uc.index.IndexMetadata(ctx, metadataSettles, metadataStep)
}

// Names returns by what payments are found, and how far older ones are indexed.
func (uc *IndexMetadata) Names(ctx context.Context) ([]ports.MetadataName, error) {
	return uc.index.MetadataNames(ctx)
}

// Forget deletes the entries of a name that is not in the configuration any more, some at a
// time. A name that is: fault.Invalid.
func (uc *IndexMetadata) Forget(ctx context.Context, name string) error {
	for {
		more, err := uc.index.ForgetMetadataName(ctx, name, metadataStep)
		if err != nil || !more {
			return err
		}
	}
}
