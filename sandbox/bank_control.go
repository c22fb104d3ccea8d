package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// These doors of the control API play the customer's bank.

// madeObject is the answer of a door that makes an object.
type madeObject struct {
	ID string `json:"id"`
}

func (s *Sandbox) controlRefund(r *http.Request) (any, error) {
	var move RefundMove
	if err := decode(r, &move); err != nil {
		return nil, err
	}

	return struct{}{}, s.MoveRefund(r.PathValue("id"), move)
}

func (s *Sandbox) controlOpenDispute(r *http.Request) (any, error) {
	var complaint Complaint
	if err := decodeIfAny(r, &complaint); err != nil {
		return nil, err
	}

	id, err := s.OpenDispute(r.PathValue("id"), complaint)

	return madeObject{ID: id}, err
}

func (s *Sandbox) controlWarn(r *http.Request) (any, error) {
	var wire struct {
		FraudType string `json:"fraud_type"`
	}

	if err := decodeIfAny(r, &wire); err != nil {
		return nil, err
	}

	id, err := s.WarnOfFraud(r.PathValue("id"), wire.FraudType)

	return madeObject{ID: id}, err
}

func (s *Sandbox) controlDispute(r *http.Request) (any, error) {
	var decision Decision
	if err := decode(r, &decision); err != nil {
		return nil, err
	}

	return struct{}{}, s.DecideDispute(r.PathValue("id"), decision)
}

// decodeIfAny reads a JSON body that may be left out.
func decodeIfAny(r *http.Request, into any) error {
	if err := decode(r, into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the body: %w", err)
	}

	return nil
}
