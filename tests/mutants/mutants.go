package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	// drill, if it is not empty, is a loss of the database's last minutes that shows the
	// mutant. No scenarios are played then.
	drill string
	// tested are, if they are not empty, the tests that show the mutant. Nothing else is played then.
	tested tested
}

// change replaces text that is in a file exactly once.
type change struct{ file, old, new string }

// mutants are the ones in docs/guarantees.md.
func mutants() []mutant { return slices.Concat(scenarioMutants(), drillMutants(), testMutants()) }

// scenarioMutants are those that scenarios notice.
func scenarioMutants() []mutant {
	return []mutant{
		{
			name: "stripe-key-fresh", why: "every attempt is sent under the same Stripe idempotency key",
			changes: []change{{
				"adapters/stripe/gateway.go",
				"key:       sent.Key,",
				`key:       fmt.Sprint(sent.Key, "_", time.Now().UnixNano()),`,
			}},
		},
		{
			name: "stripe-key-numbered", why: "Stripe's idempotency key does not say which attempt it is",
			changes: []change{{
				"app/operations/engine.go",
				"return e.provider.Send(ctx, op.Call, op.Attempts > 1)",
				`if op.Attempts > 1 {
		op.Call.Key += fmt.Sprint("_", op.Attempts)
	}

	return e.provider.Send(ctx, op.Call, op.Attempts > 1)`,
			}},
			faults: []string{"stripe"},
		},
		{
			name: "stripe-key-absent", why: "a Stripe idempotency key is sent at all",
			changes: []change{{"adapters/stripe/gateway.go", "key:       sent.Key,", `key:       "",`}},
		},
		{
			name: "key-not-written", why: "the client's key is written with the operation before Stripe is called",
			changes: []change{{
				"app/payments/create.go",
				"Kind: operation.Create, Key: cmd.Key,",
				`Kind: operation.Create, Key: "",`,
			}},
		},
		{
			name: "held-operation-is-sent", why: "an operation that another request holds is not sent",
			changes: []change{{"app/operations/engine.go", "case !op.Held():", "case false:"}},
		},
		{
			// Ids made of keys keep keys apart too, so they go as well.
			name: "no-unique-index", why: "of two operations under one key only one can be written",
			changes: []change{{"app/operations/id.go", `if key != "" {
		return installation`, `if false {
		return installation`}},
			sql: []string{
				"DROP INDEX operations_key",
				"ALTER TABLE payments DROP CONSTRAINT payments_idempotency_key_key",
			},
		},
		{
			name: "no-compare-and-set", why: "what has come to its end is not changed by an event of a step on the way",
			changes: []change{{
				"domain/payment/decide.go",
				"case p.Status.Final():\n\t\treturn Stale, p\n\tcase p.Declined,",
				"case false:\n\t\treturn Stale, p\n\tcase p.Declined,",
			}},
			faults: []string{"webhook"},
		},
		{
			name: "no-inbox-deduplication", why: "an event that is already stored changes nothing",
			changes: []change{
				{
					"adapters/postgres/apply.go",
					`case known.stored != "" && !d.again, known.stored == ports.EventUnhandled && !e.Handled:`,
					"case false:",
				},
				{
					"adapters/postgres/internal/sqlc/stripe_events.sql.go", "unnest($6::text[]), unnest($7::timestamptz[])",
					"unnest($6::text[]), unnest($7::timestamptz[]) ON CONFLICT (id) DO UPDATE SET outcome = EXCLUDED.outcome",
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
			name: "deployment-rejection-of-a-change-frozen", why: "the same holds for operations on a payment",
			changes: []change{{
				"adapters/stripe/rejections.go",
				"return deploymentRejected, &ports.DeploymentError{Code: err.Code, Message: err.Message, Kept: f.replayed}",
				"return rejected, &err",
			}},
			faults: []string{"account not activated, ca", "no such URL, ca"},
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
				"if err := uc.provider.Ready(); err != nil {\n\t\treturn Recovered{}, nil",
				"if err := uc.provider.Ready(); true {\n\t\t_ = err\n\n\t\treturn Recovered{}, nil",
			}},
		},
		{
			name: "forgotten-key-is-sent", why: "a key that Stripe may have forgotten is never sent again",
			changes: []change{{"domain/operation/identity.go", "SendFor = 23 * time.Hour", "SendFor = 2300 * time.Hour"}},
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
		{
			name: "two-at-once", why: "one confirm, capture or cancel of a payment is under way at a time",
			sql:    []string{"DROP INDEX operations_one_at_a_time"},
			faults: []string{"slow ", "holds"},
		},
		{
			name: "capture-mark-not-compared", why: "a capture is done if the intent carries its own mark, not another's",
			changes: []change{{
				"app/payments/capture.go", "case intent.Capture.Operation == op.ID:", "case intent.Status == payment.Succeeded:",
			}},
			faults: []string{"capture"},
		},
		{
			name: "state-rejection-believed", why: "that the state does not allow it is believed only once the intent was read",
			changes: []change{{
				"app/operations/engine.go",
				"case errors.As(err, &rejected) && definition.Recover != nil:",
				"case errors.As(err, &rejected) && definition.Recover == nil && false:",
			}},
			faults: []string{"capture", "cancel"},
		},
		{
			name: "cancel-done-although-paid", why: "a cancel is done only if the intent is cancelled",
			changes: []change{{"app/payments/cancel.go", "case p.Status == payment.Cancelled:", "case p.Status.Final():"}},
			faults:  []string{"cancel"},
		},
		{
			name: "refused-unread", why: "the intent is read before a capture is refused",
			changes: []change{{
				"app/payments/capture.go", `if !p.Status.Final() || key != "" && p.Status == payment.Succeeded {`, "if false {",
			}},
		},
		{
			name: "capture-under-a-new-key", why: "a capture is sent again under the key of the first attempt",
			changes: []change{{
				"app/operations/engine.go",
				"return e.provider.Send(ctx, op.Call, op.Attempts > 1)",
				`if op.Kind == operation.Capture && op.Attempts > 1 {
		op.Call.Key += fmt.Sprint("_", op.Attempts)
	}

	return e.provider.Send(ctx, op.Call, op.Attempts > 1)`,
			}},
			faults: []string{"capture"},
		},
		{
			name: "decline-told-as-done", why: "an attempt that the bank has declined is answered as declined, for ever",
			changes: []change{{"app/payments/confirm.go", "if object.Declined {", "if false {"}},
			faults:  []string{"confirm"},
		},
		{
			name: "latest-charge-not-compared", why: "a decline that an intent shows is an attempt's only if it has a charge of its own",
			changes: []change{{
				"app/payments/confirm.go", "tried := intent.LatestCharge != op.Before.LatestCharge ||", "tried := true ||",
			}},
			faults: []string{"time"},
		},
		{
			name: "marks-may-be-changed", why: "a client cannot change the entries of metadata by which an intent is known as ours",
			changes: []change{{
				"domain/payment/metadata.go",
				"case key == MetadataPaymentID, key == MetadataMark, key == MetadataKey, key == MetadataCapture:",
				"case key == MetadataMark:",
			}},
		},
		{
			name: "two-updates-at-once", why: "one update of a payment is under way at a time, so that both sides end the same",
			sql:    []string{"DROP INDEX operations_one_update"},
			faults: []string{"slow ", "holds"},
		},
		{
			name: "key-looked-up-once", why: "before a refusal the key is looked up again: it may have done what it asks for",
			changes: []change{{
				"app/operations/engine.go",
				"if _, err := e.operations.Find(ctx, request.Tenant, request.Key); err == nil {",
				"if _, err := e.operations.Find(ctx, request.Key); err == nil && false {",
			}},
			faults: []string{"read slowly", "confirm"},
		},
		{
			name: "capture-key-of-another-payment", why: "a capture's key belongs to one payment",
			changes: []change{{"domain/operation/order.go", "form = append(form, subject[:]...)", "_ = subject"}},
			faults:  []string{"capture"},
		},
		{
			name: "hint-keeps-the-version", why: "an event that hints at a change gives the payment a new version",
			changes: []change{{
				"adapters/postgres/apply.go",
				"if verdict == payment.Applies || verdict == payment.Hints {\n\t\td.applied.Before, d.applied.After = " +
					"*known.Payment, stamped(after, known.now)",
				`if verdict == payment.Hints {
		d.applied.Before, d.applied.After = *known.Payment, after
	}

	if verdict == payment.Applies {
		d.applied.Before, d.applied.After = *known.Payment, stamped(after, known.now)`,
			}},
			faults: []string{"read slowly", "read and held", "late"},
		},
		{
			name: "facts-of-an-old-version", why: "what was read is written only if the payment has not changed meanwhile",
			changes: []change{{
				"adapters/postgres/changes.go", "if written = before.Payment.Version == f.Payment.Version && heard == f.Heard; !written {",
				"if written = true; !written {",
			}},
			faults: []string{"read slowly", "read and held", "late"},
		},
		{
			name: "first-decline-applied", why: "a decline that comes late is not believed while a later attempt is under way",
			changes: []change{{
				"domain/payment/decide.go", "t.Asks == Failed && p.IntentStatus.mayBeUnderWay(), ", "",
			}},
			faults: []string{"webhook: late", "webhook: out of order"},
		},
		{
			name: "other-end-is-stale", why: "another final status than ours is a contradiction",
			changes: []change{{
				"domain/payment/decide.go",
				"case err != nil || compared > 0 || p.Status.Final() && p.Status != status:",
				"case p.Status.Final() && p.Status != status:\n\t\treturn Stale, p\n\tcase err != nil || compared > 0:",
			}},
			faults: []string{"another final status"},
		},
		{
			name: "received-not-read", why: "what was received is what Stripe says, not what was ordered",
			changes: []change{{
				"adapters/stripe/intent.go", "Captured:     o.sum(o.Received),", "Captured:     o.sum(lenientInt{}),",
			}},
		},
		{
			name: "another-program-is-parked", why: "an intent in which nothing is ours is foreign",
			changes: []change{{"domain/payment/decide.go", "case t.Unmarked:", "case false:"}},
		},
		{
			name: "another-mark-is-adopted", why: "an intent with another installation's mark is foreign",
			changes: []change{{
				"app/account/binding.go", "return intent.Marked && intent.Mark.Installation != b.id.ID", "return false",
			}},
		},
		{
			name: "payment-not-locked", why: "a payment is locked from when it is decided about until that is written",
			changes: []change{{
				"adapters/postgres/internal/sqlc/payments.sql.go", "WHERE id = $1\nFOR NO KEY UPDATE\n", "WHERE id = $1\n",
			}},
			faults: []string{"webhook", "latency", "read"},
		},
		{
			name: "cursor-of-any-list", why: "a cursor is good for the filter that it came with",
			changes: []change{{
				"domain/list/cursor.go", "if Digest(form[lengthAt+lengthID:]) != digest {",
				"if Digest(form[lengthAt+lengthID:]) != digest && false {",
			}},
		},
		{
			name: "page-by-time-alone", why: "a page begins after a payment, of which many are made in one second",
			changes: []change{{
				"adapters/postgres/internal/sqlc/payment_lists.sql.go",
				"  AND (created_at, id) < ($2::timestamptz, $3::uuid)",
				"  AND created_at < $2::timestamptz AND $3::uuid IS NOT NULL",
			}},
		},
		{
			name: "customer-under-a-new-key", why: "a customer is made under the Stripe key of the first attempt",
			changes: []change{{
				"app/operations/engine.go",
				"return e.provider.Send(ctx, op.Call, op.Attempts > 1)",
				`if op.Kind == operation.CreateCustomer && op.Attempts > 1 {
		op.Call.Key += fmt.Sprint("_", op.Attempts)
	}

	return e.provider.Send(ctx, op.Call, op.Attempts > 1)`,
			}},
			faults: []string{"create_customer"},
		},
		{
			name: "reference-not-reserved", why: "a reference belongs to one customer from when the operation is written",
			changes: []change{{
				"adapters/postgres/customers.go",
				"case holder != uuid.Nil:\n\t\t\t\treturn errReferenceTaken(holder)",
				"case false:\n\t\t\t\treturn errReferenceTaken(holder)",
			}},
			sql: []string{"DROP INDEX customers_reference"},
		},
		{
			name: "two-changes-of-a-customer-at-once", why: "one change of a customer is under way at a time",
			sql:    []string{"DROP INDEX operations_on_customer_one_at_a_time"},
			faults: []string{"slow ", "holds"},
		},
		{
			name: "customer-of-an-old-version", why: "what was read of a customer is written only if it has not changed meanwhile",
			changes: []change{
				{
					"adapters/postgres/customers.go", "if written = before.Version == c.Version; !written {",
					"if written = true; !written {",
				},
			},
			faults: []string{"read slowly, a customer", "read and held, a customer", "late", "update_customer"},
		},
		{
			name: "customers-events-unheard", why: "what somebody changes at Stripe follows here",
			changes: []change{{
				"domain/customer/customer.go", "case known.Following(s, known.UpdatedAt).SameAs(*known):", "case known != nil:",
			}},
		},
		{
			name: "deleted-customer-is-read", why: "nobody reads a customer that is deleted",
			changes: []change{{
				"app/customers/change.go", "case err == nil && c.Tenant == tenant && c.Deleted():", "case err == nil && false:",
			}},
		},
		{
			name: "payer-is-not-sent", why: "a payment at Stripe has its customer, so that nobody pays with another's card",
			changes: []change{{"adapters/stripe/calls.go", `if order.Customer != "" {`, `if order.Customer == "none" {`}},
		},
		{
			name: "refused-detachment-frozen", why: "a detachment that the account does not allow is not refused for ever",
			changes: []change{{
				"adapters/stripe/customers.go", ` && f.rejection.Code == ""`, "",
			}},
			faults: []string{"account not activated, detach", "no such URL, detach"},
		},
		{
			name: "refund-cap-without-the-lock", why: "the cap is decided about the payment as it is under its lock",
			changes: []change{{
				"domain/payment/money.go", "	p = p.WithRefunds(refunds)\n\n	if f := p.MayRefund(ask); f != nil {",
				"	if f := p.WithRefunds(nil).MayRefund(ask); f != nil {",
			}},
			sql:    []string{"ALTER TABLE payments DROP CONSTRAINT payments_refund_cap"},
			faults: []string{"refund"},
		},
		{
			name: "refund-under-a-new-key", why: "a refund is sent again under the key of the first attempt",
			changes: []change{{
				"app/operations/engine.go",
				"return e.provider.Send(ctx, op.Call, op.Attempts > 1)",
				`if op.Kind == operation.Refund && op.Attempts > 1 {
		op.Call.Key += fmt.Sprint("_", op.Attempts)
	}

	return e.provider.Send(ctx, op.Call, op.Attempts > 1)`,
			}},
			faults: []string{"refund"},
		},
		{
			name: "refund-key-of-the-amount", why: "Stripe's key is made of the operation, not of what it asks for",
			changes: []change{{
				"adapters/stripe/refunds.go",
				"key:       sent.Key,",
				`key: func() string {
			if values, err := url.ParseQuery(sent.Params); err == nil && sent.Path == "/v1/refunds" {
				return values.Get("payment_intent") + values.Get("amount")
			}

			return sent.Key
		}(),`,
			}},
			faults: []string{"refund"},
		},
		{
			name: "refund-released-on-unknown", why: "what is reserved stays so while nobody knows whether it was given back",
			changes: []change{{
				"app/operations/engine.go",
				"	default:\n\t\treturn op, e.release(ctx, op, err)\n\t}\n}\n\n// sent finishes",
				`	case op.Kind == operation.Refund:
		return e.finishRejected(ctx, op, definition.Rejected(op, nil), by)
	default:
		return op, e.release(ctx, op, err)
	}
}

// sent finishes`,
			}},
			faults: []string{"refund"},
		},
		{
			name: "charge-refunded-unheard", why: "a refund that somebody gives in the Dashboard is read",
			changes: []change{{
				"domain/payment/money.go", "t.GivenBack.Minor() <= p.Refunded.Minor()", "t.GivenBack.Minor() > 0",
			}},
		},
		{
			name: "dashboard-refund-dropped", why: "a refund that nobody here has asked for is written down",
			changes: []change{{
				"domain/refund/read.go", "	for _, s := range listed {\n\t\tread =",
				"	for _, s := range listed {\n\t\tif !s.Marked {\n\t\t\tcontinue\n\t\t}\n\n\t\tread =",
			}},
		},
		{
			name: "refund-failure-ignored", why: "a refund that has succeeded may fail, and its amount can be refunded again",
			changes: []change{{
				"domain/refund/read.go", "r.ProviderID, r.Amount, r.Status = s.ID, s.Amount, s.Status",
				"r.ProviderID, r.Amount = s.ID, s.Amount\n\tif r.Status != Succeeded {\n\t\tr.Status = s.Status\n\t}\n",
			}},
		},
		{
			name: "refund-delta-instead-of-sum", why: "a payment's sums are made of all its refunds",
			changes: []change{{
				"domain/payment/money.go", "	p.RefundPending, p.Refunded = p.sum(sums.Pending), p.sum(sums.Refunded)",
				"	p.RefundPending, p.Refunded = p.sum(sums.Pending), p.sum(max(p.Refunded.Minor(), sums.Refunded))",
			}},
		},
		{
			name: "evidence-under-a-new-key", why: "evidence is sent again under the key of the first attempt",
			changes: []change{{
				"app/operations/engine.go",
				"return e.provider.Send(ctx, op.Call, op.Attempts > 1)",
				`if op.Kind == operation.SubmitEvidence && op.Attempts > 1 {
		op.Call.Key += fmt.Sprint("_", op.Attempts)
	}

	return e.provider.Send(ctx, op.Call, op.Attempts > 1)`,
			}},
			faults: []string{"evidence"},
		},
		{
			name: "closed-dispute-is-final", why: "what is lost may be won later",
			changes: []change{{
				"domain/dispute/dispute.go", "		after[at].Snapshot = s\n",
				"		if !after[at].Status.Closed() {\n			after[at].Snapshot = s\n		}\n",
			}},
		},
		{
			name: "dispute-status-taken-for-money", why: "whether money is gone is what the balance says, never the status",
			changes: []change{{
				"domain/dispute/dispute.go", "	away, of := s.away()\n",
				"	away, of := s.away()\n	if away = of; s.Status == Won {\n		away = 0\n	}\n",
			}},
		},
		{
			name: "dispute-delta-instead-of-sum", why: "what disputes take of a payment is made of all its disputes",
			changes: []change{{
				"domain/payment/money.go", "	p.Disputed, p.DisputeStatus, p.BlockedBy = p.sum(0), \"\", uuid.Nil\n",
				"	before := p.Disputed.Minor()\n	p.DisputeStatus, p.BlockedBy = \"\", uuid.Nil\n",
			}, {
				"domain/payment/money.go", "	p.Disputed = p.sum(counted)\n", "	p.Disputed = p.sum(max(before, counted))\n",
			}},
		},
		{
			name: "two-answers-to-a-dispute-at-once", why: "one operation on a dispute is under way at a time",
			sql:    []string{"DROP INDEX operations_on_dispute_one_at_a_time"},
			faults: []string{"slow ", "holds"},
		},
		{
			name: "refund-matched-by-amount", why: "an operation's refund is known by its mark, never by its amount",
			changes: []change{{
				"domain/refund/read.go", "	id, ours := s.IDIn(i), s.Ours(i)\n",
				`	id, ours := s.IDIn(i), s.Ours(i)
	for _, one := range known {
		if !one.Made() && one.Amount == s.Amount {
			id, ours = one.ID, true
		}
	}
`,
			}},
			faults: []string{"refund"},
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
