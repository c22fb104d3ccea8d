// Package runner shows whether the service keeps its promises while faults happen. A
// scenario starts two real `marketflow serve` processes on a real PostgreSQL and
// Redis and the Stripe sandbox, draws a workload and faults from a seed, lets both
// run against each other, stops the faults, waits for quiet, and compares the
// service's records with the sandbox's.
//
//	run.go        many scenarios side by side, and what they add up to
//	scenario.go   one scenario from its seed to its verdict
//	lane.go       what scenarios share one after the other: PostgreSQL, Redis, proxies
//	world.go      what is one scenario's own: database, sandbox, processes
//	process.go    one `marketflow serve`, killed, stopped and started
//	frontdoor.go  the load balancer for webhooks, and which process is calling Stripe
//	wire.go       a proxy that acts when a named SQL statement passes
//	faults*.go    the catalogue of faults
//	workload.go   the clients
//	orders.go     what they ask for, and how they spell it
//	customers.go  who pays, captures and cancels, and another program on the account
//	refunds.go    who gives money back
//	persons.go    customers whom the service keeps, and their saved cards
//	finish.go     how good clients end
//	history.go    what they asked and were told, held against a model
//	watch.go      what is seen only while it happens
//	quiet.go      waiting for quiet
//	records.go    both sides' records
//	check*.go     the invariants, see docs/guarantees.md
//	timeline.go   what happened when
package runner
