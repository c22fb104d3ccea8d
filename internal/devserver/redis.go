package devserver

import (
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// expiryTick is how late a key of StartRedis may expire. miniredis's own clock
// (ClockTTL) is exact, but walks through all keys on every command.
const expiryTick = 250 * time.Millisecond

// Redis is a Redis inside this process (miniredis): nothing to install, nothing
// on disk. Its keys expire by the wall clock.
type Redis struct {
	server *miniredis.Miniredis
	stop   func()
}

// StartRedis starts a Redis inside this process, on a free port of 127.0.0.1.
func StartRedis() (*Redis, error) {
	server, err := miniredis.Run()
	if err != nil {
		return nil, fmt.Errorf("starting Redis: %w", err)
	}

	done := make(chan struct{})
	ended := make(chan struct{})

	go func() {
		defer close(ended)

		expireByClock(server, done)
	}()

	return &Redis{server: server, stop: sync.OnceFunc(func() {
		close(done)
		<-ended
		server.Close()
	})}, nil
}

// Addr is the host and port.
func (r *Redis) Addr() string { return r.server.Addr() }

// URL is for redis.ParseURL.
func (r *Redis) URL() string { return "redis://" + r.Addr() + "/0" }

// Stop ends the server and forgets its keys. Stopping again does nothing.
func (r *Redis) Stop() { r.stop() }

func expireByClock(server *miniredis.Miniredis, done <-chan struct{}) {
	tick := time.NewTicker(expiryTick)
	defer tick.Stop()

	last := time.Now()

	for {
		select {
		case now := <-tick.C:
			server.FastForward(now.Sub(last))
			last = now
		case <-done:
			return
		}
	}
}
