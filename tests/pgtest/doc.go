// Package pgtest gives each test a fresh PostgreSQL database, cloned from a
// template that was migrated once.
//
//	db := pgtest.New(t)
//	_, err := db.Pool().Exec(t.Context(), "INSERT …")
//
// A test's database is dropped when the test passes. When it fails, the database
// stays, and the log says how to look at it with psql.
//
// # The server
//
// MARKETFLOW_TEST_DATABASE_URL, when set, is the URL of a superuser on the server
// to use. Else all test binaries of a user share one server (package devserver).
// It lives in marketflow-pgtest-<uid>/postgresql-<major version> of /dev/shm where
// Linux has room there, else of the temporary directory; setting TMPDIR chooses the
// latter. Its data, some 40 MB, stay for the next run. There:
//
//	users           each test binary holds it shared, until its process ends
//	start           held while somebody looks for a server or starts one
//	supervisor      held by the supervisor for life
//	url             the server's URL, when it is ready
//	supervisor.log  what went wrong with the supervisor
//	kept            its time is that of the last failed test with a kept database
//	postgres/       the server's data directory; postgres/lock names the supervisor
//
// # Who owns what
//
// The supervisor owns the server. It is a second run of the test binary that needed
// a server first, and which never reaches that binary's tests (see init). A test
// binary cannot own it: nothing runs when the last test of a package ends, and
// its death would take the server from the others.
//
// users, start and supervisor are flock(2) locks, so that a process killed at any
// point gives up what it held. The rules that follow:
//
//   - The supervisor stops the server only while it holds users exclusively: nobody
//     uses it, and nobody can join until it is gone.
//   - A test binary takes users, then start, and only then looks for a supervisor.
//     It keeps start until the supervisor that it starts is ready.
//   - The server stays for a few seconds after the last test binary has left, as
//     the next one of the same `go test ./...` may still be compiling; for ten
//     minutes when a failed test has kept its database.
//   - When the supervisor is killed, the server is shut down, or stopped by the
//     next supervisor.
//
// # Databases
//
// A template's name holds the hash of its migrations. It is created under another
// name and renamed when whole, under an advisory lock: once for all processes.
// The databases of the last 20 failed tests stay. A new supervisor drops the test
// databases that were left and the templates that are older than a day. On a server
// of your own, test databases older than a day are dropped and templates stay.
package pgtest
