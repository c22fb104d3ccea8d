// Package loss shows what becomes of payments when the database loses its last minutes:
// after a fail-over to a standby that was behind, a restore, a crash with commits that
// were not on the disk. A drill starts `marketflow serve` processes on a real PostgreSQL,
// with the Stripe sandbox in its own process, which survives. Clients create, capture,
// cancel, read and repeat. In the middle the database loses what it has told them. Then
// the drill holds the sandbox's records, the database and what clients were told against
// each other.
//
//	loss.go       the drills, and what one prints
//	world.go      the sandbox and what a drill starts
//	deployment.go one database with its processes
//	service.go    one `marketflow serve`
//	turnout.go    a proxy that leads to the present primary
//	load.go       the clients
//	orders.go     what clients ask for and were told
//	check.go      what must hold after a loss
//	drill_*.go    one drill each
//
//	go run ./tests/scenarios -drill standby -for 20s -rps 50
//	make drills
package loss
