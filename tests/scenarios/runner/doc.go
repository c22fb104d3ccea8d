// Package runner proves the service under fire. A scenario starts two real
// `marketflow serve` processes on a real PostgreSQL and Redis and the Stripe
// sandbox, draws a workload and a schedule of faults from a seed, lets both run
// against each other, stops the faults, waits for quiet, and holds the
// service's records against the sandbox's.
//
//	run.go        many scenarios side by side, and what they add up to
//	scenario.go   one scenario from its seed to its verdict
//	lane.go       what scenarios share one after the other: PostgreSQL, Redis, proxies
//	world.go      what is one scenario's own: database, sandbox, processes
//	process.go    one `marketflow serve`, killed, stopped and started
//	frontdoor.go  the load balancer for webhooks, and who is calling Stripe
//	wire.go       PostgreSQL's protocol on the wire: act at a named statement
//	faults*.go    the catalogue of faults
//	workload.go   the clients
//	history.go    what they did and were told, held against a model
//	quiet.go      waiting for quiet
//	records.go      both sides' records
//	check.go      the invariants I1 to I8
//	timeline.go   what happened when
package runner
