package http

import (
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
)

// options are an order's, by the names of the API. They are nil where nothing was given, or
// only defaults: such an order is the same as one that does not name them.
type options map[string]string

func (o *options) set(name, value string) {
	if *o == nil {
		*o = make(options)
	}

	(*o)[name] = value
}

// text adds a text that was given and that parse accepts.
func (o *options) text(name string, given *string, parse func(string) (string, error)) error {
	if given == nil {
		return nil
	}

	value, err := parse(*given)
	if err == nil {
		o.set(name, value)
	}

	return err
}

// flag adds what was given as true.
func (o *options) flag(name string, given *bool) {
	if isTrue(given) {
		o.set(name, payments.OptionTrue)
	}
}

func isTrue(given *bool) bool { return given != nil && *given }

// createOptions are the fields of POST /payments beside what is ordered.
type createOptions struct {
	CaptureMethod    *string `json:"capture_method"`
	PaymentMethod    *string `json:"payment_method"`
	Confirm          *bool   `json:"confirm"`
	ReturnURL        *string `json:"return_url"`
	OffSession       *bool   `json:"off_session"`
	Description      *string `json:"description"`
	DescriptorSuffix *string `json:"statement_descriptor_suffix"`
	ReceiptEmail     *string `json:"receipt_email"`
}

// options checks the fields, and turns them into an order's options.
func (c *createOptions) options() (map[string]string, error) {
	var o options

	if c.CaptureMethod != nil && *c.CaptureMethod != string(payment.CaptureAutomatic) {
		if *c.CaptureMethod != string(payment.CaptureManual) {
			return nil, fault.New(fault.Invalid, "capture_method must be automatic or manual")
		}

		o.set(payments.OptionCaptureMethod, *c.CaptureMethod)
	}

	switch confirms := isTrue(c.Confirm); {
	case confirms && c.PaymentMethod == nil:
		return nil, fault.New(fault.Invalid, "confirm needs a payment_method")
	case !confirms && c.ReturnURL != nil:
		return nil, fault.New(fault.Invalid, "return_url is only taken with confirm")
	case !confirms && isTrue(c.OffSession):
		return nil, fault.New(fault.Invalid, "off_session is only taken with confirm")
	}

	o.flag(payments.OptionConfirm, c.Confirm)
	o.flag(payments.OptionOffSession, c.OffSession)

	for _, one := range []struct {
		name  string
		given *string
		parse func(string) (string, error)
	}{
		{payments.OptionPaymentMethod, c.PaymentMethod, payment.ParseMethodID},
		{payments.OptionReturnURL, c.ReturnURL, payment.ParseReturnURL},
		{payments.OptionDescription, c.Description, parseDescription},
		{payments.OptionDescriptorSuffix, c.DescriptorSuffix, payment.ParseStatementDescriptorSuffix},
		{payments.OptionReceiptEmail, c.ReceiptEmail, payment.ParseEmail},
	} {
		if err := o.text(one.name, one.given, one.parse); err != nil {
			return nil, err
		}
	}

	return o, nil
}

// parseDescription also refuses an empty one: there it is left out.
func parseDescription(text string) (string, error) {
	if text == "" {
		return "", fault.New(fault.Invalid, "description is empty; leave it out")
	}

	return payment.ParseDescription(text)
}
