package runner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"

	"github.com/marketflow/marketflow/tests/servers"
)

// postgresFaults: connections are lost at the worst moment, the network is bad,
// the server restarts.
func postgresFaults() []fault {
	at := append(moments(), moment{"after a COMMIT", stmtCommit, "", after}, moment{"before a COMMIT", stmtCommit, "", before})
	faults := trapFaults("postgres: connection lost ", at, func(*world, *process, string) verdict {
		return verdict{cut: true}
	})

	for state, called := range map[string]string{"40001": "serialization failure", "40P01": "deadlock"} {
		for _, statement := range []string{stmtOperation, stmtFinish, stmtChange, stmtApply, stmtPerson, stmtOnPerson, stmtRefund} {
			name := fmt.Sprintf("postgres: %s in %s", called, statement)
			faults = append(faults, fault{name: name, play: trapProcess(name, moment{called, statement, "", before},
				func(*world, *process, string) verdict { return verdict{sqlState: state} })})
		}
	}

	for mode, called := range map[servers.Shutdown]string{
		servers.ShutdownFast: "fast", servers.ShutdownImmediate: "immediate", servers.ShutdownCrash: "kill -9",
	} {
		name := "postgres: restart, " + called
		faults = append(faults, fault{name: name, play: restartPostgres(name, mode)})
	}

	faults = append(faults, fault{name: faultInDoubt, play: playInDoubt})
	on := func(l *lane, i int) *toxiproxy.Proxy { return l.proxies[i] }

	return append(faults, networkFaults("postgres", on)...)
}

// faultInDoubt: the operation is committed, but the answer is lost, and the database
// cannot be reached for a while, so that nobody can find out.
const faultInDoubt = "postgres: begin's answer lost, then down"

func playInDoubt(ctx context.Context, w *world, r *rand.Rand) {
	soon(ctx, r)

	cut := make(chan *toxiproxy.Proxy, processes)

	for i, wire := range w.lane.wires {
		proxy := w.lane.proxies[i]

		defer func() { _ = proxy.Start() }() // runs after the trap is disarmed
		defer wire.arm(&trap{statement: stmtOperation, when: after, left: 1, spring: func() verdict {
			proxy.Stop()
			w.count(faultInDoubt, 1)
			w.line.addf(proxy.Name, "%s", faultInDoubt)

			cut <- proxy

			return verdict{cut: true}
		}})()
	}

	for {
		select {
		case proxy := <-cut:
			wait(ctx, between(r, 300*time.Millisecond, 900*time.Millisecond))

			_ = proxy.Start()
			w.line.addf(proxy.Name, "up")
		case <-ctx.Done():
			return
		}
	}
}

func restartPostgres(name string, mode servers.Shutdown) func(context.Context, *world, *rand.Rand) {
	return func(ctx context.Context, w *world, r *rand.Rand) {
		wait(ctx, between(r, 200*time.Millisecond, 800*time.Millisecond))

		if ctx.Err() != nil {
			return
		}

		w.machine.Lock()
		defer w.machine.Unlock()

		w.line.addf("postgres", "%s", name)

		if err := w.lane.postgres.Restart(context.WithoutCancel(ctx), mode); err != nil {
			w.line.addf("postgres", "restart: %v", err)

			return
		}

		w.count(name, 1)
		w.line.addf("postgres", "is back")
	}
}

// networkFaults are what toxiproxy can do between the processes and a server.
func networkFaults(server string, on func(*lane, int) *toxiproxy.Proxy) []fault {
	toxics := map[string]string{
		"latency of 2 s":   `{"type":"latency","stream":"downstream","attributes":{"latency":2000,"jitter":200}}`,
		"latency of 40 ms": `{"type":"latency","stream":"upstream","attributes":{"latency":40,"jitter":30}}`,
		"reset_peer":       `{"type":"reset_peer","stream":"downstream","attributes":{"timeout":20}}`,
		"timeout":          `{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`,
		"limit_data":       `{"type":"limit_data","stream":"downstream","attributes":{"bytes":3000}}`,
	}

	var faults []fault

	for toxic, form := range toxics {
		name := server + ": " + toxic
		faults = append(faults, fault{name: name, play: func(ctx context.Context, w *world, r *rand.Rand) {
			playToxic(ctx, w, r, on(w.lane, r.IntN(processes)), name, form)
		}})
	}

	name := server + ": down"

	return append(faults, fault{name: name, play: func(ctx context.Context, w *world, r *rand.Rand) {
		soon(ctx, r)

		proxies := []*toxiproxy.Proxy{on(w.lane, 0), on(w.lane, 1)}
		if one := r.IntN(3); one < len(proxies) {
			proxies = proxies[one : one+1]
		}

		for _, proxy := range proxies {
			proxy.Stop()
			w.line.addf(proxy.Name, "down")
		}

		w.count(name, 1)
		wait(ctx, between(r, 200*time.Millisecond, 1200*time.Millisecond))

		for _, proxy := range proxies {
			_ = proxy.Start()
			w.line.addf(proxy.Name, "up")
		}
	}})
}

func playToxic(ctx context.Context, w *world, r *rand.Rand, proxy *toxiproxy.Proxy, name, form string) {
	soon(ctx, r)

	toxic, err := proxy.Toxics.AddToxicJson(strings.NewReader(form))
	if err != nil {
		w.line.addf(proxy.Name, "%s: %v", name, err) // the proxy has a toxic of this kind already

		return
	}

	w.line.addf(proxy.Name, "%s", name)
	w.count(name, 1)
	wait(ctx, between(r, 300*time.Millisecond, 1500*time.Millisecond))

	removing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()

	_ = proxy.Toxics.RemoveToxic(removing, toxic.Name)

	w.line.addf(proxy.Name, "no more %s", name)
}
