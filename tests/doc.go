// Package tests drives the whole service from outside: the real wiring on a
// real PostgreSQL, Redis' protocol, and Stripe's API over HTTP.
package tests
