package runner

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// finish is what good clients do once the storm is over: each sends its request again until
// it is told what became of it. hopeless tells of those that nobody can answer for now.
func (l *workload) finish(ctx context.Context, hopeless func(key string, a ask) bool) error {
	l.mu.Lock()
	keys := slices.Clone(l.keys)
	l.mu.Unlock()

	sent := l.w.history.keysSent()
	queue := make(chan string)

	go func() {
		defer close(queue)

		for _, key := range keys {
			if sent[key] {
				queue <- key
			}
		}
	}()

	var all errgroup.Group

	for i := range clients {
		all.Go(func() (failed error) {
			c := &client{l: l, w: l.w, number: clients + 1 + i, r: l.rand(clients + 1 + i)}
			for key := range queue { // to the end, also after a failure
				failed = cmp.Or(failed, c.finish(ctx, key, hopeless))
			}

			return failed
		})
	}

	return all.Wait()
}

// finish asks for everything that was asked for under a key, until the key has answered
// each for good.
func (c *client) finish(ctx context.Context, key string, hopeless func(string, ask) bool) error {
	c.l.mu.Lock()
	asks := slices.Clone(c.l.asks[key])
	c.l.mu.Unlock()

	for _, a := range asks {
		for {
			answer := c.send(key, a, answerWithin)
			if answer.decided() || hopeless(key, a) {
				break
			}

			if ctx.Err() != nil {
				return fmt.Errorf("key %s is never answered (%s); last: %s", key, a, answer)
			}

			wait(ctx, 200*time.Millisecond)
		}
	}

	return nil
}
