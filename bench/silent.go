package main

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// silent measures nothing.
type silent struct{}

func (silent) Start(ctx context.Context, _ string, _ *ports.Operation) context.Context     { return ctx }
func (silent) End(context.Context, error)                                                  {}
func (silent) Link(context.Context, ports.Origin)                                          {}
func (silent) TraceParent(context.Context) string                                          { return "" }
func (silent) Answered(context.Context, uuid.UUID, ports.ReplaySource)                     {}
func (silent) DuplicatePrevented(fault.Kind)                                               {}
func (silent) PaymentCreated(context.Context, payment.Payment, operation.Finisher)         {}
func (silent) OutcomeUnknown(context.Context, ports.Operation, error)                      {}
func (silent) NeedsAttention(context.Context, ports.Operation, error)                      {}
func (silent) Decided(context.Context, ports.AuditEntry)                                   {}
func (silent) KeyChanged(context.Context, ports.AuditEntry)                                {}
func (silent) EventTaken(ports.Event, ports.EventOutcome)                                  {}
func (silent) EventHandled(context.Context, ports.Event, ports.Applied)                    {}
func (silent) EventContradicts(context.Context, ports.Event, error)                        {}
func (silent) ParkedLeft(context.Context, string, error)                                   {}
func (silent) DiscrepancyFound(context.Context, ports.Discrepancy, bool)                   {}
func (silent) RefundsChanged(_ context.Context, _, _ ports.FullPayment)                    {}
func (silent) PaymentChanged(_ context.Context, _, _ payment.Payment)                      {}
func (silent) CursorReset(context.Context, time.Time, time.Time)                           {}
func (silent) LeaseKept(context.Context, error)                                            {}
func (silent) DatabaseAdopted(_ context.Context, _, _ binding.Binding, _, _ string, _ int) {}

func (silent) OperationFinished(
	context.Context, ports.Operation, operation.Finisher, operation.Outcome, error,
) {
}

func (silent) ObserveRequest(context.Context, string, string, int, time.Duration) {}
func (silent) RequestsInFlight(int)                                               {}
