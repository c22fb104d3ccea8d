package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

// profiles is where -profile puts them.
const profiles = "bench/results/tmp"

// capture takes the service's profiles during the first round of a workload;
// the function that it returns waits for them.
func (s *suite) capture(ctx context.Context, workload string, round int) func() {
	if !s.profile || round != 0 {
		return func() {}
	}

	var group sync.WaitGroup

	group.Go(func() {
		seconds := max(1, int(s.lasts.Seconds()))
		s.save(ctx, workload, "cpu", fmt.Sprintf("profile?seconds=%d", seconds))
	})

	return func() {
		group.Wait()

		for _, kind := range []string{"allocs", "heap", "block", "mutex"} {
			s.save(ctx, workload, kind, kind)
		}
	}
}

// save keeps one profile; a service without profiles is no reason to stop.
func (s *suite) save(ctx context.Context, workload, kind, path string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.main.pprof+"/debug/pprof/"+path, nil)
	if err == nil {
		var form []byte

		if form, err = fetch(request); err == nil {
			if err = os.MkdirAll(profiles, 0o750); err == nil {
				err = os.WriteFile(filepath.Join(profiles, workload+"."+kind+".prof"), form, 0o600)
			}
		}
	}

	if err != nil {
		s.say("no %s profile of %s: %v", kind, workload, err)
	}
}
