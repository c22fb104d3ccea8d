package upgrade

import (
	"fmt"
	"sync"
	"time"
)

// clients create payments and have them paid, until they are stopped.
type clients struct {
	stopped chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	answers []answer
}

func (w *world) startClients(p *process) *clients {
	const (
		together = 4
		pause    = 20 * time.Millisecond
	)

	c := &clients{stopped: make(chan struct{})}

	for n := range together {
		c.running.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()

			// Some payments are made before the migration and paid after it.
			var unpaid []answer

			for i := 0; ; i++ {
				a := w.post(p, order(fmt.Sprintf("client %d-%d", n, i), "7.00"))
				c.add(a)

				if a.status == 201 {
					unpaid = append(unpaid, a)

					again := w.post(p, a.order)
					again.replay = true
					c.add(again)
				}

				if i%2 == 0 && len(unpaid) > 0 {
					w.pay(unpaid[0])
					unpaid = unpaid[1:]
				}

				select {
				case <-c.stopped:
					return
				case <-tick.C:
				}
			}
		})
	}

	return c
}

func (c *clients) add(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.answers = append(c.answers, a)
}

// answered counts the requests that were begun after a time and have been answered.
func (c *clients) answered(begun time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()

	n := 0

	for _, a := range c.answers {
		if a.begun.After(begun) {
			n++
		}
	}

	return n
}

func (c *clients) stop() {
	close(c.stopped)
	c.running.Wait()
}

func (c *clients) sent() []answer {
	c.mu.Lock()
	defer c.mu.Unlock()

	return append([]answer(nil), c.answers...)
}
