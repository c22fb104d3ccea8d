// Package servers starts the PostgreSQL and Redis servers that only tests need:
// they can be restarted and killed. Those of package devserver just run.
package servers
