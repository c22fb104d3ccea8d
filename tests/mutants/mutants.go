package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mutant is the service with one safeguard removed.
type mutant struct {
	name string
	// why is what holds while the safeguard is there.
	why string
	// changes are made to source files at build time (go build -overlay); the
	// tree is not touched.
	changes []change
	// sql are statements that are run on each scenario's fresh database.
	sql []string
	// faults are those that the safeguard protects against; empty is all.
	faults []string
}

// change replaces text that is in a file exactly once.
type change struct{ file, old, new string }

// mutants are the ones in docs/guarantees.md.
func mutants() []mutant {
	return []mutant{
		{
			name: "stripe-key-fresh", why: "every attempt is sent under the same Stripe idempotency key",
			changes: []change{{
				"adapters/stripe/gateway.go",
				"key:       request.IdempotencyKey,",
				`key:       request.IdempotencyKey + "_" + uuid.NewString(),`,
			}},
		},
		{
			name: "stripe-key-absent", why: "a Stripe idempotency key is sent at all",
			changes: []change{{"adapters/stripe/gateway.go", "key:       request.IdempotencyKey,", `key:       "",`}},
		},
		{
			name: "key-not-written", why: "the client's key is written with the operation before Stripe is called",
			changes: []change{{
				"app/payments/create.go",
				"Key:       cmd.Key,\n\t\tOrder:     cmd.Order,\n\t\tRequest:",
				"Key:       \"\",\n\t\tOrder:     cmd.Order,\n\t\tRequest:",
			}},
		},
		{
			name: "held-operation-is-sent", why: "an operation that another request holds is not sent",
			changes: []change{{"app/operations/engine.go", "case !op.Held():", "case false:"}},
		},
		{
			name: "no-unique-index", why: "of two operations under one key only one can be written",
			sql: []string{
				"ALTER TABLE payment_requests DROP CONSTRAINT payment_requests_idempotency_key_key",
				"ALTER TABLE payments DROP CONSTRAINT payments_idempotency_key_key",
			},
		},
		{
			name: "no-compare-and-set", why: "a status changes only from one that may come before it",
			changes: []change{{
				"domain/payment/judge.go", "case p.Status.CanBecome(t.Status):", `case t.Status != "" && t.Status != p.Status:`,
			}},
			faults: []string{"webhook"},
		},
		{
			name: "no-inbox-deduplication", why: "an event that is already stored changes nothing",
			changes: []change{
				{"adapters/postgres/apply.go", `if known.stored != "" && !d.again {`, "if false {"},
				{
					"adapters/postgres/internal/sqlc/stripe_events.sql.go", "unnest($7::timestamptz[])",
					"unnest($7::timestamptz[]) ON CONFLICT (id) DO UPDATE SET outcome = EXCLUDED.outcome",
				},
			},
			faults: []string{"webhook"},
		},
		{
			name: "webhook-answered-first", why: "an event is durable before it is answered 200",
			changes: []change{{
				"adapters/http/webhooks.go",
				"if _, err := wh.receiveEvent.Do(startSigned(r.Context()), event); err != nil {",
				`ctx := startSigned(r.Context())

	go func() { _, _ = wh.receiveEvent.Do(context.WithoutCancel(ctx), event) }()

	if err := ctx.Err(); err != nil {`,
			}},
			faults: []string{"webhook", "SIGKILL", "postgres"},
		},
		{
			name: "webhook-in-two-commits", why: "an event is stored and applied in one commit",
			changes: []change{{
				"app/events/apply.go",
				"applied, err := a.parked.storeOrApply(ctx, e)\n\tif err == nil && applied.Outcome == ports.EventUnfinished {",
				`if err := a.inbox.Park(ctx, e, ports.ParkedContradiction); err != nil {
		return ports.Applied{}, err
	}

	applied, err := a.inbox.Apply(ctx, e)
	if err != nil {
		return ports.Applied{Outcome: ports.EventParked}, nil
	}

	if err == nil && applied.Outcome == ports.EventUnfinished {`,
			}},
			faults: []string{"postgres"},
		},
		{
			name: "unknown-is-rejected", why: "an outcome that nobody knows is not called a failure",
			changes: []change{{
				"adapters/stripe/outcome.go",
				"default:\n\t\treturn failed.verdict()\n\t}\n}",
				`default:
		return verdict{outcome: rejected, reason: failed.reason, err: &ports.RejectedError{Code: "mutant"}}
	}
}`,
			}},
			faults: []string{"stripe"},
		},
		{
			name: "deployment-rejection-frozen", why: "a rejection that the deployment causes is not kept under the client's key",
			changes: []change{{
				"adapters/stripe/rejections.go",
				"return deploymentRejected, &ports.DeploymentError{Code: final.Code, Message: final.Message, Kept: f.replayed}",
				"return rejected, &final",
			}},
			faults: []string{"account not activated", "no such URL"},
		},
		{
			name: "nothing-was-done-after-a-commit-in-doubt",
			why:  "a client is not told that nothing was done while a begin's commit is in doubt",
			changes: []change{{
				"adapters/postgres/store.go",
				"doubt = doubt || inDoubt(err)",
				"_ = inDoubt",
			}},
			faults: []string{"begin's answer lost"},
		},
		{
			name: "no-recovery", why: "recovery finishes what a crash or an unknown outcome left pending",
			changes: []change{{
				"app/operations/recover.go",
				"if err := uc.gateway.Ready(); err != nil {\n\t\treturn Recovered{}, nil",
				"if err := uc.gateway.Ready(); true {\n\t\t_ = err\n\n\t\treturn Recovered{}, nil",
			}},
		},
		{
			name: "forgotten-key-is-sent", why: "a key that Stripe may have forgotten is never sent again",
			changes: []change{{"app/operations/engine.go", "resendFor = 23 * time.Hour", "resendFor = 2300 * time.Hour"}},
			faults:  []string{"time"},
		},
		{
			name: "account-not-bound", why: "a process with another account's key does not serve this database",
			changes: []change{{
				"app/account/binding.go",
				"if differ := recorded.Differences(now); len(differ) > 0 {",
				"if differ := recorded.Differences(now); false {",
			}},
			faults: []string{"another account"},
		},
	}
}

var errPattern = errors.New("the safeguard's text must be in the file exactly once: bring the mutant up to date")

// overlay writes the changed files into dir and the -overlay file that names
// them; root is the module's.
func (m mutant) overlay(root, dir string) (string, error) {
	changed := map[string]string{}

	for _, c := range m.changes {
		path := filepath.Join(root, c.file)

		text, here := changed[path]
		if !here {
			source, err := os.ReadFile(path)
			if err != nil {
				return "", fmt.Errorf("reading what to change: %w", err)
			}

			text = string(source)
		}

		if strings.Count(text, c.old) != 1 {
			return "", fmt.Errorf("%s: %w:\n%s", c.file, errPattern, c.old)
		}

		changed[path] = strings.Replace(text, c.old, c.new, 1)
	}

	replace := map[string]string{}

	for path, text := range changed {
		copied := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(path, root+"/"), "/", "_"))
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("writing the changed file: %w", err)
		}

		replace[path] = copied
	}

	form, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("writing the overlay: %w", err)
	}

	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, form, 0o600); err != nil {
		return "", fmt.Errorf("writing the overlay: %w", err)
	}

	return file, nil
}
