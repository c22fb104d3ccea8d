package postgres

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func paymentFromDB(row sqlc.Payment) (payment.Payment, error) {
	amount, err := amountFromDB(row.Amount, row.Currency)
	if err != nil {
		return payment.Payment{}, fmt.Errorf("payment %s: %w", row.ID, err)
	}

	metadata, err := metadataFromDB(row.Metadata)
	if err != nil {
		return payment.Payment{}, fmt.Errorf("payment %s: %w", row.ID, err)
	}

	p := payment.Payment{
		ID:            row.ID,
		Tenant:        operation.Tenant(row.Tenant),
		IntentID:      row.StripePaymentIntentID,
		Key:           operation.Key(deref(row.IdempotencyKey)),
		CustomerID:    row.CustomerID.UUID,
		Amount:        amount,
		Metadata:      metadata,
		Status:        payment.Status(row.Status),
		IntentStatus:  payment.IntentStatus(deref(row.IntentStatus)),
		CaptureMethod: payment.CaptureMethod(row.CaptureMethod),
		CaptureBefore: utc(row.CaptureBefore),
		Declined:      row.Declined,
		Description:   deref(row.Description),
		DisputeStatus: deref(row.DisputeStatus),
		BlockedBy:     row.BlockingDispute.UUID,
		Version:       row.Version,
		CreatedAt:     row.CreatedAt.UTC(),
		UpdatedAt:     row.UpdatedAt.UTC(),
	}

	if err := attemptFromDB(&p, row.PaymentMethod, row.Decline); err != nil {
		return payment.Payment{}, fmt.Errorf("payment %s: %w", row.ID, err)
	}

	if err := takenFromDB(&p, row); err != nil {
		return payment.Payment{}, fmt.Errorf("payment %s: %w", row.ID, err)
	}

	return p, sumsFromDB(&p, row.AmountCapturable, row.AmountCaptured)
}

// takenFromDB sets what refunds and disputes take of p.
func takenFromDB(p *payment.Payment, row sqlc.Payment) error {
	for _, sum := range []struct {
		to   *money.Money
		from pgtype.Numeric
	}{
		{&p.RefundPending, row.AmountRefundPending},
		{&p.Refunded, row.AmountRefunded},
		{&p.Disputed, row.AmountDisputed},
		{&p.Overdrawn, row.Overdrawn},
	} {
		var err error
		if *sum.to, err = moneyFromDB(sum.from, p.Amount.Currency()); err != nil {
			return err
		}

		if sum.to.IsZero() { // of a payment that is not read from the table
			*sum.to = money.Of(0, p.Amount.Currency())
		}
	}

	return nil
}

// storedMethod is the form of the column payment_method.
type storedMethod struct {
	Type     string `json:"type"`
	Brand    string `json:"brand,omitzero"`
	Last4    string `json:"last4,omitzero"`
	ExpMonth int    `json:"exp_month,omitzero"`
	ExpYear  int    `json:"exp_year,omitzero"`
}

// storedDecline is the form of the column decline.
type storedDecline struct {
	Code        string `json:"code"`
	DeclineCode string `json:"decline_code"`
	Message     string `json:"message"`
}

// methodToDB is empty for no method.
func methodToDB(m payment.Method) string {
	if m.Type == "" {
		return ""
	}

	return jsonToDB(storedMethod{m.Type, m.Card.Brand, m.Card.Last4, m.Card.ExpMonth, m.Card.ExpYear})
}

// declineToDB is empty for no decline.
func declineToDB(d payment.Decline) string {
	if d.IsZero() {
		return ""
	}

	return jsonToDB(storedDecline(d))
}

func jsonToDB(v any) string {
	form, err := json.Marshal(v)
	if err != nil {
		panic(err) // cannot happen: it is made of texts and numbers
	}

	return string(form)
}

// attemptFromDB sets what is known of p's last attempt to pay. A process of the release before
// leaves the reason of a decline where it is, also if the payment goes on.
func attemptFromDB(p *payment.Payment, method, decline []byte) error {
	if method != nil {
		var m storedMethod
		if err := json.Unmarshal(method, &m); err != nil {
			return fmt.Errorf("stored payment method: %w", err)
		}

		p.Method = payment.Method{Type: m.Type, Card: payment.Card{
			Brand: m.Brand, Last4: m.Last4, ExpMonth: m.ExpMonth, ExpYear: m.ExpYear,
		}}
	}

	if decline != nil && (p.Status == payment.Failed || p.Status == payment.Cancelled) {
		var d storedDecline
		if err := json.Unmarshal(decline, &d); err != nil {
			return fmt.Errorf("stored decline: %w", err)
		}

		p.Decline = payment.Decline(d)
	}

	return nil
}

// sumsFromDB sets the sums of p. In a row from before these columns they are NULL.
func sumsFromDB(p *payment.Payment, capturable, captured pgtype.Numeric) (err error) {
	if p.Capturable, err = moneyFromDB(capturable, p.Amount.Currency()); err == nil {
		p.Captured, err = moneyFromDB(captured, p.Amount.Currency())
	}

	if err != nil {
		return fmt.Errorf("payment %s: %w", p.ID, err)
	}

	if p.Captured = p.Received(); p.Capturable.IsZero() {
		p.Capturable = money.Of(0, p.Amount.Currency())
	}

	return nil
}

// operationFromDB reads an operation. token is the caller's lease token, uuid.Nil for
// a caller without one.
func operationFromDB(row sqlc.Operation, ageSeconds float64, token uuid.UUID) (ports.Operation, error) {
	order, before, err := orderFromDB(row)
	if err != nil {
		return ports.Operation{}, fmt.Errorf("operation %s: %w", row.ID, err)
	}

	op := ports.Operation{
		Before: before,

		ID:          row.ID,
		Tenant:      operation.Tenant(row.Tenant),
		Kind:        operation.Kind(row.Kind),
		Subject:     row.Subject.UUID,
		Key:         operation.Key(deref(row.IdempotencyKey)),
		Order:       order,
		Fingerprint: operation.Fingerprint(row.Fingerprint),
		Call:        ports.Call{Key: row.StripeKey, Path: row.StripePath, Params: row.StripeParams},
		Origin: ports.Origin{
			RequestID: row.OriginRequestID, TraceParent: row.OriginTrace,
			Actor: ports.Actor{Name: row.Actor, OnBehalfOf: deref(row.OnBehalfOf)},
		},
		State:     stateFromDB(row.State),
		Attempts:  int(row.Attempts),
		Age:       seconds(ageSeconds),
		Response:  ports.FrozenResponse{Status: int(deref(row.ResponseStatus)), Body: row.ResponseBody},
		CreatedAt: row.CreatedAt.UTC(),
	}

	if op.State == operation.Pending && row.LeaseToken.Valid && row.LeaseToken.UUID == token {
		op.Lease = token
	}

	return op, nil
}

func orderFromDB(row sqlc.Operation) (order operation.Order, before ports.Before, err error) {
	if row.Amount.Valid {
		if order.Amount, err = amountFromDB(row.Amount, deref(row.Currency)); err != nil {
			return order, before, err
		}
	}

	if order.Metadata, err = metadataFromDB(row.Metadata); err != nil {
		return order, before, err
	}

	if order.Options, err = metadataFromDB(row.Options); err != nil {
		return order, before, err
	}

	if status, kept := order.Options[optionIntentStatus]; kept {
		before = ports.Before{IntentStatus: payment.IntentStatus(status), LatestCharge: order.Options[optionLatestCharge]}
		delete(order.Options, optionIntentStatus)
		delete(order.Options, optionLatestCharge)
	}

	return order, before, nil
}

// Where an operation's ports.Before is kept: among the options, so that the statement of every
// begin has no columns for it.
const (
	optionIntentStatus = "intent_status"
	optionLatestCharge = "latest_charge"
)

// optionsToDB are the options to write down.
func optionsToDB(op ports.NewOperation) map[string]string {
	if op.Before == (ports.Before{}) {
		return op.Order.Options
	}

	options := make(map[string]string, len(op.Order.Options)+2)
	maps.Copy(options, op.Order.Options)
	options[optionIntentStatus], options[optionLatestCharge] = string(op.Before.IntentStatus), op.Before.LatestCharge

	return options
}

// Older rows have two words for a finished operation: completed has a payment, refused has
// the answer to a rejected order. The other states have the core's names.
const (
	dbCompleted = "completed"
	dbRefused   = "refused"
)

func stateFromDB(state string) operation.State {
	if state == dbCompleted || state == dbRefused {
		return operation.Finished
	}

	return operation.State(state)
}

func statesToDB(states []operation.State) []string {
	names := make([]string, 0, len(states)+1)

	for _, state := range states {
		if state == operation.Finished {
			names = append(names, dbCompleted, dbRefused)
		}

		names = append(names, string(state))
	}

	return names
}

// bodyToDB makes no body an empty one, because NULL would mean that there is no answer.
func bodyToDB(body []byte) []byte {
	if body == nil {
		return []byte{}
	}

	return body
}

func eventFromDB(row sqlc.StripeEvent) ports.StoredEvent {
	return ports.StoredEvent{
		ID:          row.ID,
		Type:        row.Type,
		ObjectID:    row.ObjectID,
		Outcome:     ports.EventOutcome(row.Outcome),
		Reason:      ports.ParkReason(deref(row.ParkedReason)),
		Raw:         row.Payload,
		CreatedAt:   deref(row.CreatedAt).UTC(),
		ReceivedAt:  row.ReceivedAt.UTC(),
		ProcessedAt: row.ProcessedAt.UTC(),
	}
}

// listedFromDB is eventFromDB without the body.
func listedFromDB(row sqlc.ListEventsRow) ports.StoredEvent {
	return ports.StoredEvent{
		ID:          row.ID,
		Type:        row.Type,
		ObjectID:    row.ObjectID,
		Outcome:     ports.EventOutcome(row.Outcome),
		Reason:      ports.ParkReason(deref(row.ParkedReason)),
		CreatedAt:   deref(row.CreatedAt).UTC(),
		ReceivedAt:  row.ReceivedAt.UTC(),
		ProcessedAt: row.ProcessedAt.UTC(),
	}
}

func mapped[A, B any](values []A, convert func(A) B) []B {
	converted := make([]B, 0, len(values))
	for _, value := range values {
		converted = append(converted, convert(value))
	}

	return converted
}

// mappedOrError is mapped for a conversion that may fail.
func mappedOrError[A, B any](values []A, convert func(A) (B, error)) ([]B, error) {
	converted := make([]B, 0, len(values))

	for _, value := range values {
		one, err := convert(value)
		if err != nil {
			return nil, err
		}

		converted = append(converted, one)
	}

	return converted, nil
}

// amountToDB makes minor units a DECIMAL in major units: minor × 10^-exponent. No amount is
// NULL.
func amountToDB(p money.Price) pgtype.Numeric { return moneyToDB(p.Money()) }

func moneyToDB(m money.Money) pgtype.Numeric {
	if m.IsZero() {
		return pgtype.Numeric{}
	}

	return pgtype.Numeric{
		Int:   big.NewInt(m.Minor()),
		Exp:   int32(-m.Currency().Exponent()), //nolint:gosec // 0 to 3
		Valid: true,
	}
}

// moneyFromDB is the zero value for NULL.
func moneyFromDB(n pgtype.Numeric, currency money.Currency) (money.Money, error) {
	if !n.Valid {
		return money.Money{}, nil
	}

	minor, err := minorUnits(n, currency.Exponent())

	return money.Of(minor, currency), err
}

func amountFromDB(n pgtype.Numeric, code string) (money.Price, error) {
	currency, err := money.ParseCurrency(code)
	if err != nil {
		return money.Price{}, fmt.Errorf("stored currency: %w", err)
	}

	minor, err := minorUnits(n, currency.Exponent())
	if err != nil {
		return money.Price{}, err
	}

	amount, err := money.NewPrice(minor, currency)
	if err != nil {
		return money.Price{}, fmt.Errorf("stored amount: %w", err)
	}

	return amount, nil
}

func minorUnits(n pgtype.Numeric, exponent int) (int64, error) {
	const maxDigits = 18 // of decimal numbers that fit an int64

	shift := int(n.Exp) + exponent
	if !n.Valid || n.NaN || n.InfinityModifier != pgtype.Finite || shift > maxDigits || shift < -maxDigits {
		return 0, fmt.Errorf("stored amount is not a whole number of minor units: %v", n)
	}

	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(shift, -shift))), nil)
	value, rest := new(big.Int), new(big.Int)

	if shift >= 0 {
		value.Mul(n.Int, power)
	} else {
		value.QuoRem(n.Int, power, rest)
	}

	if rest.Sign() != 0 || !value.IsInt64() {
		return 0, fmt.Errorf("stored amount is not a whole number of minor units: %v", n)
	}

	return value.Int64(), nil
}

// metadataToDB keeps no metadata (NULL) and an empty object apart.
func metadataToDB(m map[string]string) []byte {
	if m == nil {
		return nil
	}

	form, err := json.Marshal(m)
	if err != nil {
		panic(err) // cannot happen: a map of strings always has a JSON form
	}

	return form
}

// nullableJSON is metadataToDB for a parameter that is not in an array.
func nullableJSON(m map[string]string) *string {
	if m == nil {
		return nil
	}

	return new(string(metadataToDB(m)))
}

func metadataFromDB(form []byte) (map[string]string, error) {
	if form == nil {
		return nil, nil
	}

	var m map[string]string
	if err := json.Unmarshal(form, &m); err != nil {
		return nil, fmt.Errorf("stored metadata: %w", err)
	}

	return m, nil
}

func interval(d time.Duration) pgtype.Interval {
	return pgtype.Interval{Microseconds: d.Microseconds(), Valid: true}
}

func keyToDB(k operation.Key) *string {
	if k == "" {
		return nil
	}

	return new(string(k))
}

func optional[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}

	return &v
}

// utc is zero for NULL.
func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}

	return t.UTC()
}

func optionalID(id uuid.UUID) uuid.NullUUID {
	return uuid.NullUUID{UUID: id, Valid: id != uuid.Nil}
}

func deref[T any](p *T) T {
	if p == nil {
		return *new(T)
	}

	return *p
}
