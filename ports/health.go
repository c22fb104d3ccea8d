package ports

import "errors"

// ErrReadOnly says that the database answers but takes no writes: it is a standby, or it
// was the primary and another server has taken over.
var ErrReadOnly = errors.New("the database is read-only")
