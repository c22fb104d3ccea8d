package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// tested are the tests of one package that show a mutant.
type tested struct {
	// in is the package's directory, and run what `go test -run` takes.
	in, run string
}

var (
	errNotBuilt = errors.New("the tests cannot be built")
	errNoTests  = errors.New("there are no such tests")
)

// failing are the tests that have failed, the innermost with their names.
var failing = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// test runs the mutant's tests: one of them has to fail.
func (m mutant) test(ctx context.Context, root, overlay, dir string) (caughtBy string, err error) {
	const limit = 5 * time.Minute

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	program := filepath.Join(dir, "mutant.test")

	build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", program, "./"+m.tested.in)
	build.Dir = root

	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %w\n%s", errNotBuilt, err, out)
	}

	run := exec.CommandContext(ctx, program, "-test.run", m.tested.run)
	run.Dir = filepath.Join(root, m.tested.in)
	out, err := run.CombinedOutput()

	switch found := failing.FindAllSubmatch(out, -1); {
	case strings.Contains(string(out), "no tests to run"):
		return "", fmt.Errorf("%w: %s in %s", errNoTests, m.tested.run, m.tested.in)
	case err == nil:
		return "", errUnnoticed
	case len(found) == 0:
		return "", fmt.Errorf("%w: %w\n%s", errNoTests, err, out)
	default:
		return string(found[len(found)-1][1]), nil
	}
}

// testMutants are those that tests notice: what scenarios have no part in, or not often enough.
func testMutants() []mutant {
	return []mutant{
		{
			name: "refund-written-is-sent", why: "a refund that is written down as made is not sent",
			changes: []change{{
				"app/operations/engine.go", "if op.Age > 0 {", "if op.Age > 0 && false {",
			}},
			tested: tested{"app/payments", "^TestRefund_(Unknown_ReadAndForgotten|Lost_OtherAmountFirst)$"},
		},
		{
			name: "refund-of-what-is-past", why: "what was decided before the lock is written only if the payment is as it was seen",
			changes: []change{{
				"adapters/postgres/internal/sqlc/refunds.sql.go",
				"ON seen.id = p.id AND seen.version = p.version", "ON seen.id = p.id",
			}},
			tested: tested{"adapters/postgres", "^TestStore_Refunds$"},
		},
		{
			name: "read-before-an-event", why: "what was read is not written if an event about the payment's money was stored since",
			changes: []change{{
				"adapters/postgres/changes.go", "before.Payment.Version == f.Payment.Version && heard == f.Heard",
				"before.Payment.Version == f.Payment.Version && heard == heard",
			}},
			tested: tested{"adapters/postgres", "^TestStore_Refunds$"},
		},
		{
			name: "refund-without-its-operation", why: "a refund is written as made only with the answer of its operation",
			changes: []change{{
				"adapters/postgres/seen.go", "int64(len(w.ids)), w.ids))...)", "int64(0*len(w.ids)), w.ids[:0]))...)",
			}},
			tested: tested{"adapters/postgres", "^TestStore_SeenAndLocked$"},
		},
		{
			name: "refund-cap-unwritten", why: "the database refuses more refunds than was captured, whatever was decided",
			changes: []change{{
				"migrations/00023_create_refunds.sql",
				"\n        AND amount_refund_pending + amount_refunded + amount_disputed <= amount_captured + overdrawn) NOT VALID;",
				") NOT VALID;",
			}},
			tested: tested{"adapters/postgres", "^TestStore_RefundCap$"},
		},
		{
			name: "refund-under-a-key-of-each-attempt", why: "a process that dies leaves a refund that is sent again under its key",
			changes: []change{{
				"app/operations/engine.go", "return e.provider.Send(ctx, op.Call, op.Attempts > 1)",
				`op.Call.Key += fmt.Sprint("_", op.Attempts)

	return e.provider.Send(ctx, op.Call, op.Attempts > 1)`,
			}},
			tested: tested{"app/payments", "^TestRefund_KilledAtEachStep$"},
		},
		{
			name: "payment-of-any-tenant", why: "a payment of another tenant is told as one that is not there",
			changes: []change{{
				"app/payments/get.go", "case err == nil && p.Tenant == tenant:", "case err == nil:",
			}, {
				"app/payments/get.go",
				"case err == nil: // as if it were not there, also in how long the answer takes\n\t\terr = errNone()\n", "",
			}},
			tested: tested{"tests", "^TestTenants_SeeNothingOfEachOther$"},
		},
		{
			name: "refund-of-any-tenant", why: "a refund of another tenant is told as one that is not there",
			changes: []change{{
				"app/payments/refunds_get.go", "if err == nil && r.Tenant != tenant {", "if err == nil && r.Tenant != tenant && false {",
			}},
			tested: tested{"tests", "^TestTenants_SeeNothingOfEachOther$"},
		},
		{
			name: "list-without-its-tenant", why: "a list has its tenant's payments alone",
			changes: []change{{
				"adapters/postgres/internal/sqlc/disputes.sql.go",
				"WHERE tenant = $1 AND (created_at, id) <", "WHERE $1::int > 0 AND (created_at, id) <",
			}, {
				"adapters/postgres/internal/sqlc/refunds.sql.go",
				"    WHERE tenant = $8 AND (created_at, id) <", "    WHERE $8::int > 0 AND (created_at, id) <",
			}},
			tested: tested{"tests", "^TestTenants_"},
		},
		{
			name: "key-of-any-tenant", why: "an idempotency key is one tenant's",
			changes: []change{
				{
					"adapters/postgres/internal/sqlc/operations.sql.go",
					"AND tenant = ANY ($2::integer[])", "AND cardinality($2::integer[]) > 0",
				},
				{"adapters/postgres/operations.go", "keyOf{rows[i].Operation.Tenant, deref(", "keyOf{0, deref("},
				{"adapters/postgres/operations.go", "cmp.Or(found[k], ", "cmp.Or(found[keyOf{0, k.key}], "},
			},
			tested: tested{"adapters/postgres", "^TestStore_TenantsApart$"},
		},
		{
			name: "revoked-key-works", why: "a key that was revoked does not work any more",
			changes: []change{
				{"domain/tenant/key.go", "return k.RevokedAt.IsZero() && (", "return ("},
				{
					"adapters/postgres/internal/sqlc/api_keys.sql.go",
					"FROM api_keys k\nWHERE revoked_at IS NULL AND (", "FROM api_keys k\nWHERE (",
				},
			},
			tested: tested{"tests", "^TestKeys_RevokedStopsEverywhere$"},
		},
		{
			name: "expired-key-works", why: "a key that has expired does not work any more",
			changes: []change{
				{"domain/tenant/key.go", "k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt)", "true || now.IsZero()"},
			},
			tested: tested{"app/tenants", "^TestAuthenticate_SaysNothingAboutKeys$"},
		},
		{
			name: "keys-believed-for-ever", why: "no process believes the keys that it knows for longer than four seconds",
			changes: []change{{
				"app/tenants/current.go", "maxAge       = 4 * time.Second", "maxAge       = 4000 * time.Second",
			}},
			tested: tested{"app/tenants", "^TestAuthenticate_"},
		},
		{
			name: "scope-not-checked", why: "a key does what its scopes say, and nothing else",
			changes: []change{{
				"adapters/http/auth.go", "if !callerOf(r.Context()).Scopes.Has(scope) {",
				"if !callerOf(r.Context()).Scopes.Has(scope) && false {",
			}},
			tested: tested{"adapters/http", "^TestAuth_EveryRouteAndScope$"},
		},
		{
			name: "key-gives-more-than-it-has", why: "nobody gives a key scopes that the own one lacks",
			changes: []change{{"app/tenants/keys.go", "missing := scopes.Beyond(by.May)", "missing := scopes.Beyond(scopes)"}},
			tested:  tested{"app/tenants", "^TestKeys_GiveNothingThatTheyDoNotHave$"},
		},
		{
			name: "audit-may-be-rewritten", why: "nobody changes what the audit says",
			changes: []change{{
				"migrations/00012_create_audit.sql", "BEFORE UPDATE OR DELETE OR TRUNCATE ON audit", "BEFORE TRUNCATE ON audit",
			}},
			tested: tested{"tests", "^TestAudit_CannotBeChanged$"},
		},
	}
}
