package operations_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestDecision_Entry(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		decision operations.Decision
		wrong    string
	}{
		"Whole":          {decision: operations.Decision{Actor: "cli:ann", Reason: "judged"}},
		"TheMost":        {decision: operations.Decision{Actor: strings.Repeat("ж", 255), Reason: strings.Repeat("ж", 1000)}},
		"Trimmed":        {decision: operations.Decision{Actor: " cli:ann ", Reason: "judged\n"}},
		"NoActor":        {operations.Decision{Reason: "judged"}, "An actor is needed"},
		"BlankActor":     {operations.Decision{Actor: " \t", Reason: "judged"}, "An actor is needed"},
		"LongActor":      {operations.Decision{Actor: strings.Repeat("a", 256), Reason: "judged"}, "An actor is needed"},
		"NoReason":       {operations.Decision{Actor: "cli:ann"}, "A reason is needed"},
		"LongReason":     {operations.Decision{Actor: "cli:ann", Reason: strings.Repeat("a", 1001)}, "A reason is needed"},
		"TwoLines":       {operations.Decision{Actor: "cli:ann", Reason: "one\ntwo"}, "A reason is needed"},
		"NUL":            {operations.Decision{Actor: "cli:\x00ann", Reason: "judged"}, "An actor is needed"},
		"NotUTF8":        {operations.Decision{Actor: "cli:ann", Reason: "judged\xff"}, "A reason is needed"},
		"NothingIsGiven": {operations.Decision{}, "An actor is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			entry, err := test.decision.Entry(ports.AuditEventDismissed, "inbox_event", "evt_1")
			if test.wrong != "" {
				apptest.RequireFault(t, fault.Invalid, err)
				require.Contains(t, fault.From(err).Detail, test.wrong)

				return
			}

			require.NoError(t, err)
			require.NotEqual(t, uuid.Nil, entry.ID)
			require.Equal(t, ports.AuditEntry{
				ID: entry.ID, Actor: strings.TrimSpace(test.decision.Actor), Action: ports.AuditEventDismissed,
				ObjectType: "inbox_event", ObjectID: "evt_1", Reason: strings.TrimSpace(test.decision.Reason),
			}, entry)
		})
	}
}

// standing is an operation as it stands when a person decides.
type standing struct {
	ports.Decisions
	ports.Payments

	op ports.OperationDetails
}

var errDecided = errors.New("the decision goes ahead")

func (s standing) Operation(context.Context, uuid.UUID) (ports.OperationDetails, error) {
	return s.op, nil
}

func (standing) Payment(context.Context, uuid.UUID) (payment.Payment, error) {
	return payment.Payment{}, errDecided
}

// An operation is a person's only where nobody else can finish it.
func TestDecision_WhoMayDecide(t *testing.T) {
	t.Parallel()

	const resendFor = 23 * time.Hour

	for name, test := range map[string]struct {
		state  operation.State
		age    time.Duration
		inHand bool
		wrong  string
	}{
		"NeedsAttention":          {state: operation.NeedsAttention},
		"NeedsAttentionInHand":    {state: operation.NeedsAttention, inHand: true, wrong: "is being worked on"},
		"PendingTooOld":           {state: operation.Pending, age: resendFor + time.Second},
		"PendingTooOldInHand":     {state: operation.Pending, age: resendFor + time.Second, inHand: true, wrong: "is being worked on"},
		"PendingJustNotTooOld":    {state: operation.Pending, age: resendFor, wrong: "recovery is still finding out"},
		"PendingAndYoung":         {state: operation.Pending, wrong: "recovery is still finding out"},
		"Finished":                {state: operation.Finished, age: resendFor + time.Second, wrong: "stands for ever"},
		"FinishedAndStillHeld":    {state: operation.Finished, inHand: true, wrong: "stands for ever"},
		"RejectedIsTheClients":    {state: operation.Rejected, wrong: "no decision is needed"},
		"RejectedAlsoWhenItIsOld": {state: operation.Rejected, age: resendFor + time.Second, wrong: "no decision is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			store := standing{op: ports.OperationDetails{
				Operation: ports.Operation{ID: uuid.New(), Kind: operation.Create, State: test.state, Age: test.age}, InHand: test.inHand,
			}}

			engine := operations.NewEngine(nil, nil, nil, nil, nil, nil, nil, []operations.Definition{{Kind: operation.Create}})
			_, err := operations.NewClose(store, store, nil, nil, engine, &apptest.Observer{}).
				Do(t.Context(), store.op.ID, decision)

			if test.wrong == "" {
				require.ErrorIs(t, err, errDecided)

				return
			}

			apptest.RequireFault(t, fault.Invalid, err)
			require.Contains(t, fault.From(err).Detail, test.wrong)
		})
	}
}

func TestMoved(t *testing.T) {
	t.Parallel()

	require.NoError(t, operations.Moved(nil, "Event evt_1"))
	require.ErrorIs(t, operations.Moved(errDecided, "Event evt_1"), errDecided)

	late := operations.Moved(ports.ErrMoved, "Event evt_1")
	apptest.RequireFault(t, fault.Invalid, late)
	require.Contains(t, fault.From(late).Detail, "Event evt_1 has changed meanwhile")
}
