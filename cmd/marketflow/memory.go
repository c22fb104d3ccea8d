package main

import (
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
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
		debug.SetMemoryLimit(memoryLimit(memlimit.FromCgroup))
	}
}

// memoryLimit is softLimit, or nine tenths of what the container may use where that
// is less: the rest is for what Go does not count. cgroup is an error where there is
// no limit.
func memoryLimit(cgroup func() (uint64, error)) int64 {
	limit, err := cgroup()
	if err != nil {
		return softLimit
	}

	return int64(min(limit/10*9, softLimit))
}
