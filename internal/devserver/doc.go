// Package devserver starts a PostgreSQL server and a Redis on a machine without
// Docker. Unix only.
//
// # The data directory of a PostgreSQL
//
//	lock          held (flock) by the process that runs the server
//	password      of the superuser, mode 0600
//	port          the last port that was chosen freely
//	postgres.log  the server's log since StartPostgres; postgres.log.1 the one before
//	pgdata/       PostgreSQL's own data directory
//
// Whoever holds the lock may stop any server that still runs in pgdata.
//
// # Processes
//
// pg_ctl starts the server, waits until it takes connections, and stops it. The
// server is no child of ours, and Ctrl-C does not reach it. What pg_ctl cannot do
// is to stop the server when we are killed: a small shell does that (see
// startGuarded). If it is killed too, the next start in the same directory stops
// the server.
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
