// Package devserver starts a PostgreSQL server and a Redis for `marketflow dev`,
// for tests and for benchmarks, on a machine without Docker. Unix only.
//
// # The data directory of a PostgreSQL
//
//	lock          held (flock) by the process that runs the server
//	password      of the superuser, mode 0600
//	port          the last port that was chosen freely
//	postgres.log  the server's log since StartPostgres; postgres.log.1 the one before
//	pgdata/       PostgreSQL's own data directory
//
// The lock decides who owns the server; its holder may end whatever server is
// still running in pgdata. The server is a child in a process group of its own,
// so that Ctrl-C reaches us and not it, and on Linux it is told to shut down
// when we die (prctl PR_SET_PDEATHSIG). Elsewhere the next start in the same
// directory ends the one that was left.
//
// # Access
//
// The server listens on 127.0.0.1 alone, without a Unix socket (whose path may
// be no longer than 107 bytes, which temporary directories exceed). Clients
// authenticate with SCRAM and a generated password: loopback is shared by all
// users of a machine, and a superuser may run programs as the server's user.
//
// # Root
//
// PostgreSQL refuses to run as root. Then the server runs as the user postgres,
// or nobody where there is none, and only pgdata belongs to that user.
package devserver
