// Package payments has the use cases of payments: each is one file.
package payments

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// The names of an order's options. Those that are false or not given are not there.
const (
	// OptionCaptureMethod is a payment.CaptureMethod.
	OptionCaptureMethod = "capture_method"
	// OptionPaymentMethod is the id of a payment method.
	OptionPaymentMethod = "payment_method"
	// OptionConfirm: the create makes the first attempt to pay.
	OptionConfirm = "confirm"
	// OptionReturnURL is where the customer comes back to.
	OptionReturnURL = "return_url"
	// OptionOffSession: the customer is not there.
	OptionOffSession = "off_session"
	// OptionDescription is what it is for, OptionDescriptorSuffix what the card's statement
	// says of it, and OptionReceiptEmail where Stripe sends a receipt.
	OptionDescription      = "description"
	OptionDescriptorSuffix = "statement_descriptor_suffix"
	OptionReceiptEmail     = "receipt_email"

	// OptionTrue is the value of an option that is true.
	OptionTrue = "true"
)

// OptionCustomer and OptionSave are the names of an order's options: our id of the customer
// who pays, and whether the payment method is saved for it ("true").
const (
	OptionCustomer = "customer_id"
	OptionSave     = "save_payment_method"
)

// Create creates a payment at most once for each idempotency key.
type Create struct {
	engine       *operations.Engine
	calls        ports.Calls
	installation operation.Installation
	customers    ports.Customers
	lives        ports.Incarnations
	spans        ports.Spans
}

// NewCreate returns the use case.
func NewCreate(
	engine *operations.Engine, calls ports.Calls, installation operation.Installation, customers ports.Customers,
	lives ports.Incarnations, spans ports.Spans,
) *Create {
	return &Create{
		engine: engine, calls: calls, installation: installation, customers: customers, lives: lives, spans: spans,
	}
}

// CreateCommand asks for a payment.
type CreateCommand struct {
	Tenant operation.Tenant
	// Key is empty if the client sent none. Then each request is a new payment.
	Key       operation.Key
	Order     operation.Order
	RequestID string
}

// Do answers a command; see operations.Engine.Do. If there is no such customer, the error is
// fault.NotFound.
func (uc *Create) Do(ctx context.Context, cmd CreateCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.CreatePayment", func(ctx context.Context) (operations.Answer, error) {
		return uc.engine.Do(ctx, operations.Request{
			Tenant:      cmd.Tenant,
			Key:         cmd.Key,
			Fingerprint: cmd.Order.Fingerprint(operation.Create, uuid.Nil),
			LookFirst:   cmd.Order.Options[OptionCustomer] != "", // the customer may be deleted since
			New: func(ctx context.Context) (ports.NewOperation, error) {
				if err := uc.findCustomer(ctx, cmd.Tenant, &cmd.Order); err != nil {
					return ports.NewOperation{}, err
				}

				return uc.operation(cmd)
			},
		})
	})
}

// findCustomer gives an order the provider's id of its customer, if it names one.
func (uc *Create) findCustomer(ctx context.Context, tenant operation.Tenant, order *operation.Order) error {
	named := order.Options[OptionCustomer]
	if named == "" {
		return nil
	}

	id, err := uuid.Parse(named)
	if err != nil {
		return fault.New(fault.Invalid, "customer_id is not a UUID")
	}

	c, err := uc.customers.Customer(ctx, id)
	if err == nil && (c.Deleted() || c.Tenant != tenant) {
		c, err = customer.Customer{}, fault.New(fault.NotFound, "There is no such customer.")
	}

	order.Customer = c.ProviderID

	if err != nil && fault.KindOf(err) == fault.NotFound {
		err = believeNone(ctx, uc.lives, err)
	}

	return err
}

// operation is what is written down before anything is sent to the provider.
func (uc *Create) operation(cmd CreateCommand) (ports.NewOperation, error) {
	id, err := operations.NewID(uc.installation, cmd.Tenant, cmd.Key)
	if err != nil {
		return ports.NewOperation{}, err
	}

	mark := uc.installation.Mark(cmd.Tenant, operation.Create, id, cmd.Order.Fingerprint(operation.Create, uuid.Nil))

	call, err := uc.calls.CreatePayment(mark, cmd.Key, cmd.Order)
	if err != nil {
		return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
	}

	return ports.NewOperation{
		ID: id, Tenant: cmd.Tenant, Kind: operation.Create, Key: cmd.Key, Order: cmd.Order, Call: call,
		Origin: ports.Origin{RequestID: cmd.RequestID},
	}, nil
}

// CreateDefinition is what a create adds to the engine. Its intents are found by their
// marks in the provider's list.
func CreateDefinition(renderer ports.Renderer, calls ports.Calls) operations.Definition {
	return operations.Definition{
		Kind: operation.Create,
		Done: func(op ports.Operation, object ports.Object, by operation.Finisher) (operations.Result, error) {
			return created(renderer, op, object, by)
		},
		Rejected: createRejected,
		Lost:     func(object ports.Object) (ports.NewOperation, error) { return lostCreate(calls, object.Intent) },
	}
}

// lostCreate is the create of an intent, as the intent says.
func lostCreate(calls ports.Calls, intent ports.Intent) (ports.NewOperation, error) {
	order := orderOf(intent)

	call, err := calls.CreatePayment(intent.Mark, intent.Key, order)
	if err != nil {
		return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
	}

	return ports.NewOperation{
		ID: intent.Mark.Operation, Tenant: intent.Mark.Tenant, Kind: operation.Create, Key: intent.Key, Order: order, Call: call,
		CreatedAt: intent.CreatedAt, Copied: intent.Mark.Fingerprint,
	}, nil
}

// orderOf is what was asked for, as far as the intent says it: the provider keeps no
// entries of metadata that are empty.
func orderOf(intent ports.Intent) operation.Order {
	options := map[string]string{}
	if intent.CaptureMethod == payment.CaptureManual {
		options[OptionCaptureMethod] = string(payment.CaptureManual)
	}

	if intent.Description != "" {
		options[OptionDescription] = intent.Description
	}

	if len(options) == 0 {
		options = nil
	}

	return operation.Order{Amount: intent.Amount, Metadata: intent.Metadata, Options: options, Customer: intent.Customer}
}

// created is the payment that a create became. An event may lack the amount and the
// client's secret. Without the secret there is no response yet.
func created(
	renderer ports.Renderer, op ports.Operation, object ports.Object, by operation.Finisher,
) (operations.Result, error) {
	intent := object.Intent

	fingerprint, order := op.Fingerprint, op.Order
	if intent.Marked && intent.Mark.Fingerprint != fingerprint { // it was made for a request that is lost
		fingerprint, order = intent.Mark.Fingerprint, orderOf(intent)
	}

	untold := by == operation.ByWebhook && intent.Amount.IsZero()
	if intent.Marked && intent.Mark.Operation != op.ID || !untold && intent.Amount != order.Amount {
		return operations.Result{}, fmt.Errorf("intent %s is for %s, operation %s for %s: %w",
			intent.ID, intent.Amount, op.ID, order.Amount, ports.ErrContradiction)
	}

	at := intent.CreatedAt
	if at.IsZero() {
		at = op.CreatedAt
	}

	p := payment.Payment{
		ID:            op.ID,
		Tenant:        op.Tenant,
		IntentID:      intent.ID,
		Key:           op.Key,
		Amount:        order.Amount,
		Metadata:      order.Metadata,
		CaptureMethod: payment.CaptureMethod(order.Options[OptionCaptureMethod]),
		Description:   order.Options[OptionDescription],
		CreatedAt:     at,
	}.Begun(intent.Snapshot(), time.Now())
	p.CustomerID, _ = uuid.Parse(order.Options[OptionCustomer]) // the nil one if there is none

	made := &ports.Completion{
		Payment: p, Fingerprint: fingerprint, Order: order, Cause: string(by), Customer: intent.Customer,
	}

	confirms := order.Options[OptionConfirm] == OptionTrue
	if by != operation.ByWebhook || intent.ClientSecret != "" && (!confirms || !undecided(intent)) {
		made.Response = new(answerToCreate(renderer, op, p, object, confirms))
	}

	return operations.Result{Made: made}, nil
}

// undecided: the intent is as it was before its first attempt. An event may say so of one that
// was confirmed when it was made.
func undecided(intent ports.Intent) bool {
	return intent.Status == payment.Pending && intent.IntentStatus.Untried()
}

func answerToCreate(
	renderer ports.Renderer, op ports.Operation, p payment.Payment, object ports.Object, confirms bool,
) ports.FrozenResponse {
	switch {
	case !confirms:
		return renderer.Created(p, object.Intent.ClientSecret)
	case object.Declined, p.Status == payment.Failed:
		return renderer.Rejected(errDeclined(p, object.Intent.Decline), op.Origin.RequestID)
	default:
		return renderer.CreatedAndConfirmed(p, object.Intent)
	}
}

// createRejected is the answer to an order that the provider does not take.
func createRejected(op ports.Operation, rejected *ports.RejectedError) *fault.Error {
	if rejected == nil {
		return fault.New(fault.Rejected,
			"This payment was never made: nothing was charged, and nothing will be under this idempotency key. "+
				"To order it again, use a new key: that is safe.")
	}

	return fault.Wrap(kindOf(rejected), rejected, "The payment provider rejected this payment: "+rejected.Message)
}

// kindOf tells what the client can do about a rejection.
func kindOf(rejected *ports.RejectedError) fault.Kind {
	switch {
	case rejected.Amount:
		return fault.AmountRejected
	case rejected.Order:
		return fault.OrderRejected
	default:
		return fault.Rejected
	}
}

// errDeclined is the answer, for ever, to an attempt to pay that the bank has declined. The
// payment is p after it. The provider keeps the decline under the attempt's key, so each
// further attempt needs a key of its own.
func errDeclined(p payment.Payment, d payment.Decline) *fault.Error {
	retryable := d.Retryable() && !p.Status.Final()

	next := "Another attempt makes no sense."

	switch {
	case p.Status == payment.Cancelled:
		next = "The payment was tried too often and is cancelled. To order it again, create a new one."
	case retryable:
		next = "To try again, confirm the payment under a new idempotency key."
	}

	f := fault.New(fault.Declined, strings.TrimSpace("The payment was declined. "+d.Message)+" "+next)
	f.DeclineCode, f.Retryable = cmp.Or(d.DeclineCode, d.Code), &retryable

	return about(p, f)
}
