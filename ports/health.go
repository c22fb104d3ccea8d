package ports

import "errors"

// ErrReadOnly says that the database answers and takes no writes, as a standby
// does, or a primary that another server has taken over from.
var ErrReadOnly = errors.New("the database is read-only")
