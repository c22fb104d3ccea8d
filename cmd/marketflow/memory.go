package main

import (
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// gcPercent lets the heap grow to five times the live memory before it is collected.
	// Live memory is 10 to 30 MiB. With the default the collector would run many times a
	// second under load and take a fifth of the processor time.
	gcPercent = 400
	// softLimit is where the collector works harder instead of letting the heap grow, so
	// that the process stays under 128 MiB. Live memory may still exceed it.
	softLimit = 96 << 20
)

// tuneMemory sets the garbage collector for a small heap with much traffic, unless GOGC
// or GOMEMLIMIT is set.
func tuneMemory() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
		debug.SetMemoryLimit(memoryLimit(memlimit.FromCgroup))
	}
}

// memoryLimit is softLimit, or nine tenths of the container's limit if that is less: the
// rest is for memory that Go does not count. cgroup fails if there is no limit.
func memoryLimit(cgroup func() (uint64, error)) int64 {
	limit, err := cgroup()
	if err != nil {
		return softLimit
	}

	return int64(min(limit/10*9, softLimit))
}
