-- +goose Up

-- What the tables hold, for people who look at them with psql's \d+. A column has a
-- comment where its name does not say enough.
--
-- COMMENT takes SHARE UPDATE EXCLUSIVE, which neither reads nor writes wait for. So all
-- tables may be in one migration.

COMMENT ON TABLE payments IS
    'Payments, each written when its Stripe payment intent is known. Until then there is only the operation in payment_requests.';
COMMENT ON COLUMN payments.id IS 'Also payment_requests.payment_id of the operation that created it.';
COMMENT ON COLUMN payments.idempotency_key IS 'Sent by the client. NULL: it sent none.';
COMMENT ON COLUMN payments.amount IS 'In major units: 10.00 is ten dollars.';
COMMENT ON COLUMN payments.status IS 'pending and failed are open: they may still change. succeeded and cancelled are final.';
COMMENT ON COLUMN payments.metadata IS 'Sent by the client, any keys.';

COMMENT ON TABLE payment_requests IS
    'Operations: each request to create a payment, written before anything is sent to Stripe. It is kept after the payment exists.';
COMMENT ON COLUMN payment_requests.payment_id IS 'Names the operation, and becomes the id of its payment.';
COMMENT ON COLUMN payment_requests.idempotency_key IS 'Sent by the client. NULL: it sent none.';
COMMENT ON COLUMN payment_requests.fingerprint IS
    'SHA-256 of amount, currency and metadata. A repeated key with another fingerprint is answered 422.';
COMMENT ON COLUMN payment_requests.stripe_key IS 'The Idempotency-Key for Stripe, the same in every attempt.';
COMMENT ON COLUMN payment_requests.stripe_params IS 'The request''s body for Stripe, the same in every attempt.';
COMMENT ON COLUMN payment_requests.state IS
    'pending: not finished yet. completed: finished with a payment. refused: finished without one, and its answer is kept. '
    'rejected: Stripe''s API said no because of the deployment; the same request opens it again. '
    'needs_attention: a person has to decide.';
COMMENT ON COLUMN payment_requests.lease_token IS 'Held by whoever works on the operation now. NULL: nobody.';
COMMENT ON COLUMN payment_requests.leased_until IS 'Until then nobody else takes the operation.';
COMMENT ON COLUMN payment_requests.retry_at IS 'When recovery may try again. It counts only while pending.';
COMMENT ON COLUMN payment_requests.attempts IS 'How often the request may have been sent to Stripe.';
COMMENT ON COLUMN payment_requests.response_status IS 'HTTP status of the answer. Every repeated request gets the same.';
COMMENT ON COLUMN payment_requests.response_body IS 'The answer''s bytes. Every repeated request gets the same.';
COMMENT ON COLUMN payment_requests.origin_request_id IS 'Request id of the HTTP request that asked for the payment.';
COMMENT ON COLUMN payment_requests.origin_trace IS 'Its W3C traceparent.';

COMMENT ON TABLE payment_transitions IS 'Each payment''s history: one row for each change of its status.';
COMMENT ON COLUMN payment_transitions.from_status IS 'NULL: the payment was written with to_status.';
COMMENT ON COLUMN payment_transitions.cause IS 'What changed the status: the id of a Stripe event, or a part of the service such as request or recovery.';

COMMENT ON TABLE stripe_events IS 'The inbox: every Stripe event that was answered 200, and what it did.';
COMMENT ON COLUMN stripe_events.id IS 'Stripe''s, or sha256: and the hash of the body where the event has none.';
COMMENT ON COLUMN stripe_events.object_id IS 'The Stripe object that the event is about. Empty: a foreign event.';
COMMENT ON COLUMN stripe_events.payload IS 'The body as Stripe signed it. Empty: a foreign event.';
COMMENT ON COLUMN stripe_events.outcome IS
    'applied: it changed a payment''s status. stale: the payment was there already, or further. ignored: we do not use this type. '
    'parked: it waits, see parked_reason. foreign: of the other mode, or of an account that is not ours. '
    'dismissed: it was parked, and a person closed it.';
COMMENT ON COLUMN stripe_events.parked_reason IS
    'unknown_payment: applied once its payment exists. contradiction: it does not fit our payment, and a person has to decide.';
COMMENT ON COLUMN stripe_events.created_at IS 'Stripe''s time. It never orders events.';
COMMENT ON COLUMN stripe_events.processed_at IS 'When outcome was last written.';

COMMENT ON TABLE installation IS
    'One row: the id of this database, and what it belongs to. A process whose Stripe account or server differs does not start.';
COMMENT ON COLUMN installation.stripe_host IS 'Host of Stripe''s API. NULL in this column and the next four: not known yet.';
COMMENT ON COLUMN installation.stripe_mode IS 'live or test.';
COMMENT ON COLUMN installation.system_identifier IS
    'Of the PostgreSQL server. A restored dump is in a server with another one, and so is seen to be a copy.';
COMMENT ON COLUMN installation.bound_at IS 'When it was first recorded what the database belongs to, or last adopted.';
COMMENT ON COLUMN installation.adopted_at IS 'When marketflow account adopt last ran.';
COMMENT ON COLUMN installation.made_by_dev IS 'Made by marketflow dev, so dev may use it.';

COMMENT ON TABLE installation_adoptions IS
    'One row for each marketflow account adopt: who, why, and what the database belonged to before.';

COMMENT ON TABLE reconciliation IS 'One row: how far our records were compared with Stripe''s.';
COMMENT ON COLUMN reconciliation.through IS 'Everything that happened at Stripe before this time has been compared.';

COMMENT ON TABLE reconciliation_lease IS 'At most one row: which process reconciles now.';
COMMENT ON COLUMN reconciliation_lease.until IS 'From then on another process may take over.';

COMMENT ON TABLE reconciliation_sweeps IS
    'Where the search for open payments goes on, for each band of their age. No row: it begins with the newest.';
COMMENT ON COLUMN reconciliation_sweeps.created_at IS 'Of the last payment that was searched.';
COMMENT ON COLUMN reconciliation_sweeps.payment_id IS 'The last payment that was searched.';

COMMENT ON TABLE audit IS
    'What people decided with commands, written in the commit of the change. Rows can be added, but not changed or deleted.';
COMMENT ON COLUMN audit.actor IS 'Who ran the command.';
COMMENT ON COLUMN audit.on_behalf_of IS 'Whom the actor acted for. NULL: nobody else.';
COMMENT ON COLUMN audit.action IS 'For example operation.close or inbox.dismiss.';
COMMENT ON COLUMN audit.before IS 'What the change replaced.';
COMMENT ON COLUMN audit.after IS 'What it is now.';

-- +goose Down
COMMENT ON TABLE payments IS NULL;
COMMENT ON COLUMN payments.id IS NULL;
COMMENT ON COLUMN payments.idempotency_key IS NULL;
COMMENT ON COLUMN payments.amount IS NULL;
COMMENT ON COLUMN payments.status IS NULL;
COMMENT ON COLUMN payments.metadata IS NULL;
COMMENT ON TABLE payment_requests IS NULL;
COMMENT ON COLUMN payment_requests.payment_id IS NULL;
COMMENT ON COLUMN payment_requests.idempotency_key IS NULL;
COMMENT ON COLUMN payment_requests.fingerprint IS NULL;
COMMENT ON COLUMN payment_requests.stripe_key IS NULL;
COMMENT ON COLUMN payment_requests.stripe_params IS NULL;
COMMENT ON COLUMN payment_requests.state IS NULL;
COMMENT ON COLUMN payment_requests.lease_token IS NULL;
COMMENT ON COLUMN payment_requests.leased_until IS NULL;
COMMENT ON COLUMN payment_requests.retry_at IS NULL;
COMMENT ON COLUMN payment_requests.attempts IS NULL;
COMMENT ON COLUMN payment_requests.response_status IS NULL;
COMMENT ON COLUMN payment_requests.response_body IS NULL;
COMMENT ON COLUMN payment_requests.origin_request_id IS NULL;
COMMENT ON COLUMN payment_requests.origin_trace IS NULL;
COMMENT ON TABLE payment_transitions IS NULL;
COMMENT ON COLUMN payment_transitions.from_status IS NULL;
COMMENT ON COLUMN payment_transitions.cause IS NULL;
COMMENT ON TABLE stripe_events IS NULL;
COMMENT ON COLUMN stripe_events.id IS NULL;
COMMENT ON COLUMN stripe_events.object_id IS NULL;
COMMENT ON COLUMN stripe_events.payload IS NULL;
COMMENT ON COLUMN stripe_events.outcome IS NULL;
COMMENT ON COLUMN stripe_events.parked_reason IS NULL;
COMMENT ON COLUMN stripe_events.created_at IS NULL;
COMMENT ON COLUMN stripe_events.processed_at IS NULL;
COMMENT ON TABLE installation IS NULL;
COMMENT ON COLUMN installation.stripe_host IS NULL;
COMMENT ON COLUMN installation.stripe_mode IS NULL;
COMMENT ON COLUMN installation.system_identifier IS NULL;
COMMENT ON COLUMN installation.bound_at IS NULL;
COMMENT ON COLUMN installation.adopted_at IS NULL;
COMMENT ON COLUMN installation.made_by_dev IS NULL;
COMMENT ON TABLE installation_adoptions IS NULL;
COMMENT ON TABLE reconciliation IS NULL;
COMMENT ON COLUMN reconciliation.through IS NULL;
COMMENT ON TABLE reconciliation_lease IS NULL;
COMMENT ON COLUMN reconciliation_lease.until IS NULL;
COMMENT ON TABLE reconciliation_sweeps IS NULL;
COMMENT ON COLUMN reconciliation_sweeps.created_at IS NULL;
COMMENT ON COLUMN reconciliation_sweeps.payment_id IS NULL;
COMMENT ON TABLE audit IS NULL;
COMMENT ON COLUMN audit.actor IS NULL;
COMMENT ON COLUMN audit.on_behalf_of IS NULL;
COMMENT ON COLUMN audit.action IS NULL;
COMMENT ON COLUMN audit.before IS NULL;
COMMENT ON COLUMN audit.after IS NULL;
