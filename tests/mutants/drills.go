package main

// drillMutants lack a safeguard for a database that has lost its last minutes.
func drillMutants() []mutant {
	return []mutant{
		{
			name: "loss-random-id", why: "the operation under a key has the same id whenever it is made",
			changes: []change{{"app/operations/id.go", `if key != "" {
		return installation`, `if false {
		return installation`}},
			drill: "standby",
		},
		{
			name: "loss-own-fingerprint", why: "an operation takes the fingerprint that its object carries",
			changes: []change{{
				"adapters/postgres/finish.go",
				`if err := tx.send(ctx, takeOrder(op.ID, c.Fingerprint, c.Order)); err != nil {
			return ports.Finished{}, err
		}

		op.Fingerprint, op.Order = c.Fingerprint, c.Order`,
				"c.Fingerprint, c.Order = op.Fingerprint, op.Order",
			}},
			drill: "standby",
		},
		{
			name: "loss-not-found", why: "a payment that is not here is 404 only once reconciliation is through",
			changes: []change{{"app/payments/get.go", "case !reconciled:", "case !reconciled && false:"}},
			drill:   "standby",
		},
		{
			name: "loss-unnoticed", why: "every loss begins a new life of the database",
			changes: []change{{
				"migrations/00016_know_the_incarnation.sql",
				"8) END\n$$;", "8) END;\n    SELECT 'always'::text\n$$;",
			}},
			drill: "standby",
		},
		{
			name: "loss-job-left-running", why: "a job that the life before left running keeps no reconciliation waiting",
			changes: []change{{
				"adapters/river/jobs.go", "UniqueOpts: river.UniqueOpts{ByPeriod: again, ByState", "UniqueOpts: river.UniqueOpts{ByState",
			}},
			drill: "upgrade",
		},
		{
			name: "loss-cursor-of-any-age", why: "nothing is sent while something may be missing whose key is forgotten",
			changes: []change{{
				"domain/operation/identity.go", "return age <= SendFor && s.Behind <= BehindMost", "return age <= SendFor",
			}},
			drill: "late",
		},
		{
			name: "loss-cursor-passes", why: "the cursor does not pass what could not be written",
			changes: []change{{
				"domain/operation/rules.go", "return c == AtHome || c == Recorded }", "return c != \"\" }",
			}},
			drill: "late",
		},
	}
}
