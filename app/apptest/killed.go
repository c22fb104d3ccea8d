package apptest

import (
	"context"
	"net"
	"net/url"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
)

// KilledAtEachStep plays a SIGKILL between any two steps of a process. A step is what the process sends
// to PostgreSQL or to Stripe, before that has arrived, and what it hears of them, when the other side has
// done it. begin prepares a run and returns what the process does in it. Each run has a process of its own:
// the first is killed at its first step, the second at its second, until one lives to its end. After each
// run, also the last, recovery of the world's own process finishes what is left, and then after is called.
// It returns how many steps the whole is.
func (w *World) KilledAtEachStep(begin func(run int) func(ctx context.Context, process *World), after func(run int)) int {
	w.tb.Helper()

	const most = 200

	for run := 1; run < most; run++ {
		do := begin(run)
		killed := w.killedAt(run, do)
		w.RecoverAll()
		after(run)

		if !killed {
			return run - 1
		}
	}

	require.Fail(w.tb, "the process comes to no end")

	return most
}

// RecoverAll recovers as often as it takes until no operation is pending. No lease is waited for.
func (w *World) RecoverAll() {
	w.tb.Helper()

	const most = 10

	left := 1

	for range most {
		w.Exec(`UPDATE operations SET leased_until = now() - interval '1 s', retry_at = now() - interval '1 s' WHERE state = 'pending'`)

		_, err := w.Recover().Do(w.tb.Context())
		require.NoError(w.tb, err)
		require.NoError(w.tb, w.db.Pool().QueryRow(w.tb.Context(),
			"SELECT count(*) FROM operations WHERE state = 'pending'").Scan(&left))

		if left == 0 {
			return
		}
	}

	require.Zero(w.tb, left, "operations are pending")
}

// killedAt runs do in a process that is killed at a step, and tells whether it was.
func (w *World) killedAt(step int, do func(ctx context.Context, process *World)) (killed bool) {
	w.tb.Helper()

	f := &fuse{at: step, blown: make(chan struct{}), conns: map[net.Conn]struct{}{}}

	database, err := url.Parse(w.db.URL)
	require.NoError(w.tb, err)

	database.Host = f.front(w, database.Host)

	pool, err := postgres.NewPool(w.tb.Context(), postgres.PoolConfig{URL: database.String(), MaxConns: 4})
	require.NoError(w.tb, err)
	require.NoError(w.tb, postgres.Ping(w.tb.Context(), pool))

	gateway := NewGateway("http://" + f.front(w, strings.TrimPrefix(w.Stripe.URL, "http://")))

	process := *w
	process.Store = postgres.NewStore(pool, pool, IndexedNames()...)
	process.Operations, process.Payments, process.Facts, process.Inbox = process.Store, process.Store, process.Store, process.Store
	process.Customers, process.Lives, process.Refunds, process.Disputes = process.Store, process.Store, process.Store, process.Store
	process.Provider, process.Decisions = gateway, process.Store
	process.ForgetReplays()

	// What a dead process goes on to try reaches nobody, so nobody waits for it before the test's end.
	ended := make(chan struct{})

	w.tb.Cleanup(func() { f.blow(); <-ended })

	f.light()

	go func() {
		defer close(ended)
		defer pool.Close()

		do(w.tb.Context(), &process)
		f.done()
	}()

	<-f.blown

	return f.killed()
}

// fuse stands between a process and what it talks to, and kills it at a step.
type fuse struct {
	mu sync.Mutex
	// at is the step at which it kills. lit: steps count.
	at, steps   int
	lit, isDead bool
	lived       bool
	blown       chan struct{}
	conns       map[net.Conn]struct{}
	listeners   []net.Listener
}

func (f *fuse) light() {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.lit = true
}

// step tells whether the process lives on.
func (f *fuse) step() bool {
	f.mu.Lock()
	defer f.mu.Unlock()

	if f.lit && !f.isDead {
		if f.steps++; f.steps == f.at {
			f.kill()
		}
	}

	return !f.isDead
}

// kill closes all connections, as the end of a process does; mu is held.
func (f *fuse) kill() {
	f.isDead = true

	for conn := range f.conns {
		_ = conn.Close()
	}

	for _, l := range f.listeners {
		_ = l.Close()
	}

	if !f.lived {
		close(f.blown)
	}
}

// blow kills a process that is not dead yet.
func (f *fuse) blow() {
	f.mu.Lock()
	defer f.mu.Unlock()

	if !f.isDead {
		f.kill()
	}
}

// done: the process has come to its end.
func (f *fuse) done() {
	f.mu.Lock()
	defer f.mu.Unlock()

	if f.lit = false; !f.isDead {
		f.lived = true
		close(f.blown)
	}
}

func (f *fuse) killed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()

	return !f.lived
}

// front is an address that leads to target.
func (f *fuse) front(w *World, target string) string {
	w.tb.Helper()

	listener, err := new(net.ListenConfig).Listen(w.tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(w.tb, err)

	f.listeners = append(f.listeners, listener)

	var all sync.WaitGroup

	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}

			server, err := new(net.Dialer).Dial("tcp", target)
			if err != nil || !f.keeps(client, server) {
				_ = client.Close()

				continue
			}

			all.Go(func() { f.carry(server, client) })
			all.Go(func() { f.carry(client, server) })
		}
	})
	w.tb.Cleanup(func() { f.blow(); all.Wait() })

	return listener.Addr().String()
}

// keeps is false if the process is dead.
func (f *fuse) keeps(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()

	for _, conn := range conns {
		f.conns[conn] = struct{}{}

		if f.isDead {
			_ = conn.Close()
		}
	}

	return !f.isDead
}

// carry is one direction of a connection. What is read at once is a step.
func (f *fuse) carry(to, from net.Conn) {
	const most = 1 << 16

	defer func() { _, _ = to.Close(), from.Close() }()

	for chunk := make([]byte, most); ; {
		n, err := from.Read(chunk)
		if n > 0 && !f.step() {
			return
		}

		if _, failed := to.Write(chunk[:n]); err != nil || failed != nil {
			return
		}
	}
}
