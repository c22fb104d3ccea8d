package main

import (
	"os"
	"runtime/debug"
)

const (
	// gcPercent lets the heap grow to five times what lives before it is
	// collected. What lives is some 10 to 30 MiB, so the default would collect
	// many times a second under load, at a fifth of the processor time.
	gcPercent = 400
	// softLimit is where the collector works harder instead of letting the heap
	// grow: the process stays under 128 MiB. It is no bound on what may live.
	softLimit = 96 << 20
)

// tuneMemory sets the garbage collector for a small heap with much traffic.
// GOGC and GOMEMLIMIT, where they are set, are believed instead.
func tuneMemory() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
		debug.SetMemoryLimit(softLimit)
	}
}
