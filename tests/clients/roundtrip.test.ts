// Tests the client that openapi-typescript and openapi-fetch generate from
// api/openapi.yaml against the service at MARKETFLOW_URL.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';

import createClient from 'openapi-fetch';

import type { components, paths } from './generated/schema.js';

type Payment = components['schemas']['Payment'];
type PaymentList = components['schemas']['PaymentList'];
type Status = components['schemas']['Status'];

const baseUrl = process.env['MARKETFLOW_URL'];
assert.ok(baseUrl, 'MARKETFLOW_URL must be the URL of the service');
const sandboxUrl = process.env['SANDBOX_URL'];
assert.ok(sandboxUrl, 'SANDBOX_URL must be the URL of the sandbox');

const client = createClient<paths>({ baseUrl });

const amounts: [number, string][] = [
  [300000.01, 'USD'], // a float32 would round it to 300000.00
  [999999.99, 'EUR'],
  [0.57, 'USD'],
  [1000, 'USD'],
  [300001, 'JPY'],
  [99999.99, 'KWD'],
  [12.34, 'KWD'],
];

for (const [amount, currency] of amounts) {
  test(`${amount} ${currency} comes back as it was sent`, async () => {
    const key = randomUUID();
    const created = await client.POST('/payments', {
      body: { amount, currency, idempotency_key: key, metadata: { order_id: 'order_1' } },
    });
    assert.ifError(created.error);
    assert.equal(created.response.status, 201);
    assert.equal(created.data!.amount, amount);
    assert.equal(created.data!.currency, currency);

    const read = await client.GET('/payments/{id}', { params: { path: { id: created.data!.id } } });
    assert.ifError(read.error);

    const payment: Payment = read.data!;
    const status: Status = 'pending';
    assert.equal(payment.amount, amount);
    assert.equal(payment.status, status);
    assert.equal(payment.idempotency_key, key);
    assert.deepEqual(payment.metadata, { order_id: 'order_1' });
    assert.ok(!Number.isNaN(Date.parse(payment.created_at)));

    const again = await client.POST('/payments', {
      body: { amount, currency, idempotency_key: key, metadata: { order_id: 'order_1' } },
    });
    assert.deepEqual(again.data, created.data);
    assert.equal(again.response.headers.get('Idempotent-Replayed'), 'true');
  });
}

test('a problem document is typed', async () => {
  const { data, error, response } = await client.POST('/payments', { body: { amount: 0.001, currency: 'USD' } });
  assert.equal(data, undefined);
  assert.equal(response.status, 400);

  const problem: components['schemas']['Problem'] = error!;
  assert.equal(problem.status, 400);
  assert.match(problem.type, /docs\/problems\.md#/);
  assert.ok(problem.detail);
  assert.equal(problem.request_id, response.headers.get('X-Request-Id'));
});

// Creates a payment, pays it as its customer, and waits until the money is held.
async function held(amount: number): Promise<Payment> {
  const created = await client.POST('/payments', { body: { amount, currency: 'USD', capture_method: 'manual' } });
  assert.ifError(created.error);

  const { id, stripe_payment_intent_id: intent } = created.data!;
  const paid = await fetch(`${sandboxUrl}/v1/payment_intents/${intent}/confirm`, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa('sk_test_marketflow:')}` },
    body: new URLSearchParams({ payment_method: 'pm_card_visa', return_url: 'https://example.com/done' }),
  });
  assert.equal(paid.status, 200, await paid.text());

  for (const deadline = Date.now() + 20_000; ; await new Promise((go) => setTimeout(go, 20))) {
    const read = await client.GET('/payments/{id}', { params: { path: { id } } });
    assert.ifError(read.error);

    if (read.data!.intent_status === 'requires_capture' && read.data!.capture_before !== null) {
      return read.data!;
    }
    assert.ok(Date.now() < deadline, `it is ${JSON.stringify(read.data)}`);
  }
}

test('a part of what is held is captured', async () => {
  const payment = await held(300000.01);
  assert.equal(payment.amount, 300000.01);
  assert.equal(payment.amount_capturable, 300000.01);
  assert.equal(payment.amount_captured, 0);
  assert.equal(payment.capture_method, 'manual');
  assert.equal(payment.status, 'pending');
  assert.ok(Date.parse(payment.capture_before!) > Date.parse(payment.created_at));

  const path = { id: payment.id };
  const exceeded = await client.POST('/payments/{id}/capture', { params: { path }, body: { amount: 300000.02 } });
  assert.equal(exceeded.response.status, 422);
  assert.match(exceeded.error!.type, /#amount-exceeded$/);
  assert.equal(exceeded.error!.available, 300000.01);
  assert.equal(exceeded.error!.payment_id, payment.id);

  const request = { params: { path, header: { 'Idempotency-Key': randomUUID() } }, body: { amount: 123456.78 } };
  const captured = await client.POST('/payments/{id}/capture', request);
  assert.ifError(captured.error);
  assert.equal(captured.data!.status, 'succeeded');
  assert.equal(captured.data!.intent_status, 'succeeded');
  assert.equal(captured.data!.amount, 300000.01);
  assert.equal(captured.data!.amount_captured, 123456.78);
  assert.equal(captured.data!.amount_capturable, 0);
  assert.equal(captured.data!.capture_before, null);
  assert.ok(captured.data!.version > payment.version);

  const read = await client.GET('/payments/{id}', { params: { path } });
  assert.equal(read.data!.amount_captured, 123456.78);

  const again = await client.POST('/payments/{id}/capture', request);
  assert.deepEqual(again.data, captured.data);
  assert.equal(again.response.headers.get('Idempotent-Replayed'), 'true');

  const late = await client.POST('/payments/{id}/cancel', { params: { path } });
  assert.equal(late.response.status, 409);
  assert.match(late.error!.type, /#invalid-state$/);
  assert.equal(late.error!.intent_status, 'succeeded');
  assert.deepEqual(late.error!.allowed, ['refund']);
});

test('all that is held is captured without a body', async () => {
  const { id } = await held(300000.01);
  const captured = await client.POST('/payments/{id}/capture', { params: { path: { id } } });
  assert.ifError(captured.error);
  assert.equal(captured.data!.amount_captured, 300000.01);
});

test('a hold is cancelled', async () => {
  const { id } = await held(12.34);
  const cancelled = await client.POST('/payments/{id}/cancel', {
    params: { path: { id } },
    body: { reason: 'requested_by_customer' },
  });
  assert.ifError(cancelled.error);
  assert.equal(cancelled.data!.status, 'cancelled');
  assert.equal(cancelled.data!.intent_status, 'canceled');
  assert.equal(cancelled.data!.amount_capturable, 0);
  assert.equal(cancelled.data!.amount_captured, 0);

  const again = await client.POST('/payments/{id}/cancel', { params: { path: { id } } });
  assert.equal(again.response.status, 200);
  assert.equal(again.data!.status, 'cancelled');
});

test('what is not paid cannot be captured', async () => {
  const created = await client.POST('/payments', { body: { amount: 10, currency: 'USD', capture_method: 'manual' } });
  const early = await client.POST('/payments/{id}/capture', { params: { path: { id: created.data!.id } } });
  assert.equal(early.response.status, 409);
  assert.match(early.error!.type, /#invalid-state$/);
  assert.deepEqual(early.error!.allowed, ['confirm', 'cancel']);
});

test('payments are found again', async () => {
  const key = randomUUID();
  const created = await client.POST('/payments', { body: { amount: 12.34, currency: 'USD', idempotency_key: key } });
  assert.ifError(created.error);

  const found = await client.GET('/payments', {
    params: { query: { q: key, 'created[gte]': created.data!.created_at, currency: 'USD', 'amount[lte]': '12.34', limit: 1 } },
  });
  assert.ifError(found.error);

  const page = found.data as PaymentList; // the other type is CSV, which was not asked for
  assert.deepEqual(page.data.map((payment) => payment.id), [created.data!.id]);
  assert.equal(page.has_more, false);
  assert.equal(page.next_cursor, null);

  const told = await client.GET('/payments/{id}/timeline', { params: { path: { id: created.data!.id } } });
  assert.ifError(told.error);
  assert.equal(told.data!.data[0]!.kind, 'operation');
});

test('a whole story: held, declined, paid with another card, captured in part, changed, found', async () => {
  const reference = randomUUID();
  const customer = await client.POST('/customers', { body: { reference, email: 'jenny@example.com', name: 'Jenny' } });
  assert.ifError(customer.error);
  assert.equal(customer.data!.reference, reference);

  const created = await client.POST('/payments', {
    body: {
      amount: 300000.01, currency: 'USD', capture_method: 'manual', customer_id: customer.data!.id, description: 'A bicycle',
      metadata: { order_id: 'order_1', draft: 'yes' },
    },
  });
  assert.ifError(created.error);

  const path = { id: created.data!.id };
  const confirm = (method: string) =>
    client.POST('/payments/{id}/confirm', {
      params: { path, header: { 'Idempotency-Key': randomUUID() } },
      body: { payment_method: method, return_url: 'https://shop.example/back' },
    });

  const declined = await confirm('pm_card_chargeDeclined');
  assert.equal(declined.response.status, 402);
  assert.match(declined.error!.type, /#payment-declined$/);
  assert.equal(declined.error!.decline_code, 'generic_decline');
  assert.equal(declined.error!.retryable, true);
  assert.equal(declined.error!.payment_id, path.id);

  const paid = await confirm('pm_card_visa');
  assert.ifError(paid.error);
  assert.equal(paid.data!.intent_status, 'requires_capture');
  assert.equal(paid.data!.amount_capturable, 300000.01);
  assert.equal(paid.data!.payment_method!.card!.last4, '4242');
  assert.equal(paid.data!.next_action, null);
  assert.equal(paid.data!.client_secret, created.data!.client_secret);

  const stale = await client.POST('/payments/{id}/capture', { params: { path, header: { 'If-Match': '"1"' } } });
  assert.equal(stale.response.status, 412);
  assert.ok(stale.error!.version! > 1);

  const captured = await client.POST('/payments/{id}/capture', { params: { path }, body: { amount: 123456.78 } });
  assert.ifError(captured.error);
  assert.equal(captured.data!.status, 'succeeded');
  assert.equal(captured.data!.amount_captured, 123456.78);

  const changed = await client.PATCH('/payments/{id}', {
    params: { path },
    body: { metadata: { parcel: '7', draft: null }, description: 'A red bicycle' },
  });
  assert.ifError(changed.error);
  assert.deepEqual(changed.data!.metadata, { order_id: 'order_1', parcel: '7' });

  const found = await client.GET('/payments', { params: { query: { customer_id: customer.data!.id } } });
  assert.ifError(found.error);

  const page = found.data as PaymentList;
  assert.equal(page.data.length, 1);
  assert.equal(page.data[0]!.id, path.id);
  assert.equal(page.data[0]!.description, 'A red bicycle');
  assert.equal(page.data[0]!.decline, null);
  assert.equal(page.has_more, false);

  const told = await client.GET('/payments/{id}/timeline', { params: { path } });
  assert.ifError(told.error);
  assert.ok(told.data!.data.filter((entry) => entry.kind === 'operation').length >= 5);
});
