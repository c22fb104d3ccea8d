// The sandbox as Stripe's official client for Node sees it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, test } from 'node:test';
import Stripe from 'stripe';

const base = new URL(process.env.SANDBOX_URL ?? 'http://127.0.0.1:12111');
const stripe = new Stripe('sk_test_node', {
  apiVersion: '2023-10-16',
  protocol: 'http',
  host: base.hostname,
  port: base.port,
  maxNetworkRetries: 0,
  telemetry: false,
});

const card = { amount: 2000, currency: 'usd', payment_method_types: ['card'] };
const paid = (more) =>
  stripe.paymentIntents.create({ ...card, confirm: true, payment_method: 'pm_card_visa', ...more });

// inbox receives webhooks and keeps their raw bodies.
const inbox = { deliveries: [], waiting: [] };

before(async () => {
  inbox.server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    inbox.deliveries.push({ body: Buffer.concat(chunks), signature: request.headers['stripe-signature'] });
    response.end();
    inbox.waiting.splice(0).forEach((wake) => wake());
  });
  inbox.server.listen(0, '127.0.0.1');
  await once(inbox.server, 'listening');

  inbox.endpoint = await stripe.webhookEndpoints.create({
    url: `http://127.0.0.1:${inbox.server.address().port}/hook`,
    enabled_events: ['*'],
  });
});

after(async () => {
  const deleted = await stripe.webhookEndpoints.del(inbox.endpoint.id);
  assert.equal(deleted.deleted, true);
  inbox.server.closeAllConnections();
  inbox.server.close();
});

// delivered waits for an event of a type about an object.
async function delivered(type, id) {
  for (;;) {
    const found = inbox.deliveries.find(({ body }) => {
      const event = JSON.parse(body);
      return event.type === type && event.data.object.id === id;
    });
    if (found) return found;
    await new Promise((wake) => inbox.waiting.push(wake));
  }
}

test('create, retrieve, update, confirm', async () => {
  const made = await stripe.paymentIntents.create({ ...card, metadata: { order: '7' } });
  assert.equal(made.status, 'requires_payment_method');
  assert.match(made.client_secret, /^pi_\w+_secret_\w+$/);
  assert.equal(made.livemode, false);

  const updated = await stripe.paymentIntents.update(made.id, { description: 'seven', metadata: { order: '' } });
  assert.equal(updated.description, 'seven');
  assert.deepEqual(updated.metadata, {});

  const confirmed = await stripe.paymentIntents.confirm(made.id, {
    payment_method: 'pm_card_visa',
    expand: ['latest_charge.balance_transaction', 'payment_method'],
  });
  assert.equal(confirmed.status, 'succeeded');
  assert.equal(confirmed.amount_received, 2000);
  assert.equal(confirmed.latest_charge.balance_transaction.net, 2000 - 88);
  assert.equal(confirmed.payment_method.card.last4, '4242');

  const found = await stripe.paymentIntents.retrieve(made.id);
  assert.equal(found.latest_charge, confirmed.latest_charge.id);
});

test('a declined card', async () => {
  await assert.rejects(paid({ payment_method: 'pm_card_chargeDeclinedInsufficientFunds' }), (error) => {
    assert.ok(error instanceof Stripe.errors.StripeCardError);
    assert.equal(error.statusCode, 402);
    assert.equal(error.code, 'card_declined');
    assert.equal(error.decline_code, 'insufficient_funds');
    assert.equal(error.payment_intent.status, 'requires_payment_method');
    assert.match(error.requestId, /^req_/);
    return true;
  });
});

test('3-D Secure, approved and declined on its page', async () => {
  for (const [result, status] of [['approve', 'succeeded'], ['decline', 'requires_payment_method']]) {
    const intent = await paid({
      payment_method: 'pm_card_authenticationRequired',
      return_url: 'https://shop.example/back',
    });
    assert.equal(intent.status, 'requires_action');
    assert.equal(intent.next_action.type, 'redirect_to_url');

    const page = intent.next_action.redirect_to_url.url;
    assert.match(await (await fetch(page)).text(), /Approve/);

    const answer = await fetch(page, { method: 'POST', body: new URLSearchParams({ result }), redirect: 'manual' });
    assert.equal(answer.status, 303);

    const found = await stripe.paymentIntents.retrieve(intent.id);
    assert.equal(found.status, status);
  }
});

test('capture in part, cancel', async () => {
  const held = await paid({ capture_method: 'manual' });
  assert.equal(held.status, 'requires_capture');

  const captured = await stripe.paymentIntents.capture(held.id, { amount_to_capture: 1500 });
  assert.equal(captured.status, 'succeeded');
  assert.equal(captured.amount_received, 1500);

  const other = await paid({ capture_method: 'manual' });
  const canceled = await stripe.paymentIntents.cancel(other.id, { cancellation_reason: 'abandoned' });
  assert.equal(canceled.status, 'canceled');
  assert.equal(canceled.cancellation_reason, 'abandoned');

  await assert.rejects(stripe.paymentIntents.capture(other.id), { code: 'payment_intent_unexpected_state' });
});

test('refunds', async () => {
  const intent = await paid();
  const refund = await stripe.refunds.create({ payment_intent: intent.id, amount: 500 });
  assert.equal(refund.status, 'succeeded');
  await assert.rejects(stripe.refunds.create({ payment_intent: intent.id, amount: 1501 }), { param: 'amount' });
  await stripe.refunds.create({ payment_intent: intent.id });

  const charge = await stripe.charges.retrieve(intent.latest_charge, { expand: ['refunds'] });
  assert.equal(charge.refunded, true);
  assert.equal(charge.refunds.data.length, 2);
});

test('lists and auto-pagination', async () => {
  const made = [];
  for (let n = 0; n < 7; n++) made.unshift((await stripe.paymentIntents.create(card)).id);

  const page = await stripe.paymentIntents.list({ limit: 3 });
  assert.equal(page.data.length, 3);
  assert.equal(page.has_more, true);

  const found = [];
  for await (const intent of stripe.paymentIntents.list({ limit: 3 })) {
    found.push(intent.id);
    if (found.length === made.length) break;
  }
  assert.deepEqual(found, made);

  const before = await stripe.paymentIntents.list({ ending_before: made[2], limit: 1 });
  assert.deepEqual(before.data.map(({ id }) => id), [made[1]]);

  const events = await stripe.events.list({ types: ['payment_intent.created'], limit: 1 });
  assert.equal(events.data[0].data.object.id, made[0]);
});

test('idempotent replay', async () => {
  const idempotencyKey = `node-${Date.now()}`;
  const first = await stripe.paymentIntents.create(card, { idempotencyKey });
  const again = await stripe.paymentIntents.create(card, { idempotencyKey });
  assert.equal(again.id, first.id);
  assert.equal(again.lastResponse.headers['idempotent-replayed'], 'true');

  await assert.rejects(stripe.paymentIntents.create({ ...card, amount: 2001 }, { idempotencyKey }), (error) => {
    assert.ok(error instanceof Stripe.errors.StripeIdempotencyError);
    assert.equal(error.statusCode, 400);
    return true;
  });
});

test('errors', async () => {
  await assert.rejects(stripe.paymentIntents.retrieve('pi_none'), { code: 'resource_missing', statusCode: 404 });
  await assert.rejects(stripe.paymentIntents.create({ amount: 49, currency: 'usd' }), { code: 'amount_too_small' });
  await assert.rejects(stripe.paymentIntents.create({ ...card, colour: 'red' }), { code: 'parameter_unknown' });

  const stranger = new Stripe('sk_live_nobody', { protocol: 'http', host: base.hostname, port: base.port });
  await assert.rejects(stranger.paymentIntents.list(), (error) => {
    assert.ok(error instanceof Stripe.errors.StripeAuthenticationError);
    return true;
  });
});

test('a delivered event passes constructEvent, its re-encoding does not', async () => {
  const intent = await paid({ metadata: { order: 'ünïcode' } });
  const { body, signature } = await delivered('payment_intent.succeeded', intent.id);

  const event = stripe.webhooks.constructEvent(body, signature, inbox.endpoint.secret);
  assert.equal(event.type, 'payment_intent.succeeded');
  assert.equal(event.api_version, '2023-10-16');
  assert.equal(event.data.object.client_secret, intent.client_secret);
  assert.equal(event.data.object.metadata.order, 'ünïcode');

  for (const [wrong, secret] of [
    [JSON.stringify(JSON.parse(body)), inbox.endpoint.secret],
    [body, 'whsec_other'],
  ]) {
    assert.throws(
      () => stripe.webhooks.constructEvent(wrong, signature, secret),
      Stripe.errors.StripeSignatureVerificationError,
    );
  }

  await stripe.refunds.create({ payment_intent: intent.id, amount: 300 });
  const refunded = await delivered('charge.refunded', intent.latest_charge);
  assert.deepEqual(JSON.parse(refunded.body).data.previous_attributes, { amount_refunded: 0 });
});
