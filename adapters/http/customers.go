package http

import (
	"context"
	"net/http"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/marketflow/marketflow/app/customers"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// CustomerUseCases are what the resource /customers calls.
type CustomerUseCases struct {
	Create interface {
		Do(ctx context.Context, cmd customers.CreateCommand) (operations.Answer, error)
	}
	Get interface {
		Do(ctx context.Context, tenant operation.Tenant, id uuid.UUID) (customer.Customer, error)
	}
	List interface {
		Do(
			ctx context.Context, filter ports.CustomerFilter, before ports.CustomerPosition, limit int,
		) (customers.Page, error)
	}
	Update interface {
		Do(ctx context.Context, cmd customers.UpdateCommand) (operations.Answer, error)
	}
	Delete, Setup interface {
		Do(ctx context.Context, cmd customers.ChangeCommand) (operations.Answer, error)
	}
	Methods interface {
		Do(
			ctx context.Context, tenant operation.Tenant, id uuid.UUID, after string, limit int,
		) (customers.MethodsPage, error)
	}
	Detach interface {
		Do(ctx context.Context, cmd customers.DetachCommand) (operations.Answer, error)
	}
}

// Customers is the resource /customers, with the payment methods that customers have saved.
type Customers struct{ do CustomerUseCases }

// NewCustomers returns the resource.
func NewCustomers(do CustomerUseCases) *Customers { return &Customers{do} }

// create is POST /customers.
func (c *Customers) create(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body struct {
		Reference *string            `json:"reference"`
		Email     *string            `json:"email"`
		Name      *string            `json:"name"`
		Metadata  map[string]*string `json:"metadata"`
		Key       *string            `json:"idempotency_key"`
	}

	if err := decodeOptional(w, r, maxCreateBody, &body, customerHints()); err != nil {
		return answer{}, err
	}

	metadata, err := metadataOf(body.Metadata)
	if err != nil {
		return answer{}, err
	}

	key, err := keyOf(body.Key, r.Header)
	if err != nil {
		return answer{}, err
	}

	cmd := customers.CreateCommand{Tenant: tenantOf(r), Key: key, Metadata: metadata, RequestID: requestID(r.Context())}

	for name, value := range map[string]*string{
		customer.Reference: body.Reference, customer.Email: body.Email, customer.Name: body.Name,
	} {
		if value != nil {
			cmd.Values = with(cmd.Values, name, *value)
		}
	}

	made, err := c.do.Create.Do(r.Context(), cmd)
	if err != nil {
		return answer{}, err
	}

	if made.Response.Status == http.StatusCreated {
		w.Header().Set("Location", "/customers/"+made.CustomerID.String())
	}

	return frozen(w, made), nil
}

func customerHints() hints {
	return hints{
		fields: "reference, email, name, metadata and idempotency_key",
		types:  "metadata maps strings to strings; reference, email, name and idempotency_key are strings",
	}
}

// with is values with one more, which makes them if there are none.
func with(values map[string]string, name, value string) map[string]string {
	if values == nil {
		values = make(map[string]string)
	}

	values[name] = value

	return values
}

// get is GET /customers/{id}.
func (c *Customers) get(w http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := customerID(r)
	if err != nil {
		return answer{}, err
	}

	found, err := c.do.Get.Do(r.Context(), tenantOf(r), id)
	if err != nil {
		return answer{}, err
	}

	w.Header().Set("ETag", etag(found.Version))

	return answer{status: http.StatusOK, body: toCustomerBody(found)}, nil
}

// update is PATCH /customers/{id} (RFC 7396: null takes away).
func (c *Customers) update(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body struct {
		Reference optionalText             `json:"reference"`
		Email     optionalText             `json:"email"`
		Name      optionalText             `json:"name"`
		Metadata  map[string]*optionalText `json:"metadata"`
		Key       *string                  `json:"idempotency_key"`
	}

	change, err := customerCommand(w, r, &body, &body.Key, customerHints())
	if err != nil {
		return answer{}, err
	}

	cmd := customers.UpdateCommand{ChangeCommand: change}

	for name, value := range map[string]optionalText{
		customer.Reference: body.Reference, customer.Email: body.Email, customer.Name: body.Name,
	} {
		switch {
		case !value.sent:
		case value.text == "" && !value.null:
			return answer{}, fault.Newf(fault.Invalid, "%s is empty; send null to take it away", name)
		default:
			cmd.Values = with(cmd.Values, name, value.text)
		}
	}

	for name, value := range body.Metadata {
		text := ""
		if value != nil {
			text = value.text
		}

		cmd.Metadata = with(cmd.Metadata, name, text)
	}

	updated, err := c.do.Update.Do(r.Context(), cmd)
	if err != nil {
		return answer{}, err
	}

	return tagged(w, frozen(w, updated)), nil
}

// changed is the answer to an operation on a customer.
func changed(w http.ResponseWriter, a operations.Answer, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}

	return frozen(w, a), nil
}

// remove is DELETE /customers/{id}.
func (c *Customers) remove(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body keyBody

	cmd, err := customerCommand(w, r, &body, &body.Key, keyHints())
	if err != nil {
		return answer{}, err
	}

	removed, err := c.do.Delete.Do(r.Context(), cmd)

	return changed(w, removed, err)
}

// keyBody is a body that may only have a key.
type keyBody struct {
	Key *string `json:"idempotency_key"`
}

func keyHints() hints { return hints{fields: "idempotency_key", types: keyIsText} }

// setup is POST /customers/{id}/setup_sessions.
func (c *Customers) setup(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body keyBody

	cmd, err := customerCommand(w, r, &body, &body.Key, keyHints())
	if err != nil {
		return answer{}, err
	}

	begun, err := c.do.Setup.Do(r.Context(), cmd)

	return changed(w, begun, err)
}

// methods is GET /customers/{id}/payment_methods.
func (c *Customers) methods(_ http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := customerID(r)
	if err != nil {
		return answer{}, err
	}

	query, err := customerQueryOf(r, "limit", "cursor")
	if err != nil {
		return answer{}, err
	}

	limit, err := query.limit()
	if err != nil {
		return answer{}, err
	}

	after, err := query.methodCursor(id)
	if err != nil {
		return answer{}, err
	}

	page, err := c.do.Methods.Do(r.Context(), tenantOf(r), id, after, limit)
	if err != nil {
		return answer{}, err
	}

	body := pageBody{Data: make([]any, 0, len(page.Methods)), HasMore: page.More}
	for _, m := range page.Methods {
		body.Data = append(body.Data, toSavedMethodBody(id, m))
	}

	if n := len(page.Methods); page.More && n > 0 {
		body.NextCursor = new(methodCursor(id, page.Methods[n-1].ID))
	}

	return answer{status: http.StatusOK, body: body}, nil
}

// detach is DELETE /payment_methods/{id}.
func (c *Customers) detach(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body keyBody
	if err := decodeOptional(w, r, maxChangeBody, &body, keyHints()); err != nil {
		return answer{}, err
	}

	key, err := keyOf(body.Key, r.Header)
	if err != nil {
		return answer{}, err
	}

	detached, err := c.do.Detach.Do(r.Context(), customers.DetachCommand{
		Tenant: tenantOf(r), MethodID: mux.Vars(r)["id"], Key: key, RequestID: requestID(r.Context()),
	})

	return changed(w, detached, err)
}

// customerCommand reads what operations on a customer have in common: the id in the path,
// If-Match, and a body that may be empty. key is where the body's key is decoded to.
func customerCommand(
	w http.ResponseWriter, r *http.Request, body any, key **string, h hints,
) (customers.ChangeCommand, error) {
	id, err := customerID(r)
	if err != nil {
		return customers.ChangeCommand{}, err
	}

	version, err := oneIfMatch(r.Header)
	if err != nil {
		return customers.ChangeCommand{}, err
	}

	if err := decodeOptional(w, r, maxCreateBody, body, h); err != nil {
		return customers.ChangeCommand{}, err
	}

	parsed, err := keyOf(*key, r.Header)

	return customers.ChangeCommand{
		Tenant: tenantOf(r), CustomerID: id, Key: parsed, Version: version, RequestID: requestID(r.Context()),
	}, err
}

// customerID is the id in the path, which has one spelling.
func customerID(r *http.Request) (uuid.UUID, error) {
	text := mux.Vars(r)["id"]

	id, err := uuid.Parse(text)
	if err != nil || id.String() != text {
		return uuid.Nil, fault.New(fault.Invalid, "The customer id in the path is not a UUID in lower case.")
	}

	return id, nil
}

// customerBody is a customer as it is read. Keys are only ever added at the end.
type customerBody struct {
	ID         uuid.UUID         `json:"id"`
	Reference  *string           `json:"reference"`
	ProviderID string            `json:"stripe_customer_id"`
	Email      *string           `json:"email"`
	Name       *string           `json:"name"`
	Metadata   map[string]string `json:"metadata"`
	CreatedAt  string            `json:"created_at"`
	UpdatedAt  string            `json:"updated_at"`
	Version    int64             `json:"version"`
}

func toCustomerBody(c customer.Customer) customerBody {
	return customerBody{
		ID: c.ID, Reference: orNull(c.Reference), ProviderID: c.ProviderID, Email: orNull(c.Email), Name: orNull(c.Name),
		Metadata: c.Metadata, CreatedAt: toTime(c.CreatedAt), UpdatedAt: toTime(c.UpdatedAt), Version: c.Version,
	}
}

// EncodeCustomer is the customer as GET /customers/{id} answers it, for commands.
func EncodeCustomer(c customer.Customer) []byte { return encode(toCustomerBody(c)) }

// savedMethodBody is a saved payment method.
type savedMethodBody struct {
	ID         string         `json:"id"`
	CustomerID uuid.UUID      `json:"customer_id"`
	Type       string         `json:"type"`
	Card       *savedCardBody `json:"card"`
	CreatedAt  string         `json:"created_at"`
}

type savedCardBody struct {
	Brand       string `json:"brand"`
	Last4       string `json:"last4"`
	ExpMonth    int    `json:"exp_month"`
	ExpYear     int    `json:"exp_year"`
	Fingerprint string `json:"fingerprint"`
}

func toSavedMethodBody(customerID uuid.UUID, m ports.Method) savedMethodBody {
	body := savedMethodBody{ID: m.ID, CustomerID: customerID, Type: m.Type, CreatedAt: toTime(m.CreatedAt)}
	if m.Card != nil {
		body.Card = &savedCardBody{m.Card.Brand, m.Card.Last4, m.Card.ExpMonth, m.Card.ExpYear, m.Card.Fingerprint}
	}

	return body
}

// setupBody answers the request for a setup session. No other body has its secret.
type setupBody struct {
	ID           uuid.UUID `json:"id"`
	CustomerID   uuid.UUID `json:"customer_id"`
	SetupID      string    `json:"stripe_setup_intent_id"`
	ClientSecret string    `json:"client_secret"`
	Status       string    `json:"status"`
	CreatedAt    string    `json:"created_at"`
}

// CustomerMade implements ports.CustomerRenderer.
func (Renderer) CustomerMade(c customer.Customer) ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusCreated, Body: EncodeCustomer(c)}
}

// Customer implements ports.CustomerRenderer.
func (Renderer) Customer(c customer.Customer) ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusOK, Body: EncodeCustomer(c)}
}

// SetupMade implements ports.CustomerRenderer.
func (Renderer) SetupMade(id, customerID uuid.UUID, s ports.Setup) ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusCreated, Body: encode(setupBody{
		ID: id, CustomerID: customerID, SetupID: s.ID, ClientSecret: s.ClientSecret, Status: s.Status,
		CreatedAt: toTime(s.CreatedAt),
	})}
}

// Nothing implements ports.CustomerRenderer.
func (Renderer) Nothing() ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusNoContent, Body: []byte{}}
}
