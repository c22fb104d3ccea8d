// Tests the client that openapi-typescript and openapi-fetch generate from
// api/openapi.yaml against the service at MARKETFLOW_URL.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';

import createClient from 'openapi-fetch';

import type { components, paths } from './generated/schema.js';

type Payment = components['schemas']['Payment'];
type Status = components['schemas']['Status'];

const baseUrl = process.env['MARKETFLOW_URL'];
assert.ok(baseUrl, 'MARKETFLOW_URL must be the URL of the service');

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
