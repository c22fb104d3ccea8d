// The sandbox as Stripe's official client for Node sees it: the same stories
// through an old client, of the sandbox's own API version, and newer ones.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import { clients, openInbox } from './harness.js';

const card = { amount: 2000, currency: 'usd', payment_method_types: ['card'] };

for (const { name, Stripe, version, connect } of clients) {
  describe(name, { concurrency: true, timeout: 60_000 }, () => {
    const stripe = connect(`sk_test_${randomUUID().replaceAll('-', '')}`);
    const paid = (more, options) =>
      stripe.paymentIntents.create({ ...card, confirm: true, payment_method: 'pm_card_visa', ...more }, options);
    let inbox;

    before(async () => {
      inbox = await openInbox();
      inbox.endpoint = await stripe.webhookEndpoints.create({
        url: inbox.url,
        enabled_events: ['*'],
        api_version: version,
      });
    });

    after(async () => {
      inbox.close(); // first: a server that listens keeps the process alive
      const deleted = await stripe.webhookEndpoints.del(inbox.endpoint.id);
      assert.equal(deleted.deleted, true);
    });

    // received verifies what was delivered with the client's own constructEvent.
    async function received(type, id) {
      const { body, signature } = await inbox.delivered(type, id);
      return stripe.webhooks.constructEvent(body, signature, inbox.endpoint.secret);
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

    test('a webhook passes constructEvent, its re-encoding does not', async () => {
      assert.equal(inbox.endpoint.api_version, version);

      const intent = await paid({ metadata: { order: 'ünïcode' } });
      const event = await received('payment_intent.succeeded', intent.id);
      assert.equal(event.api_version, version);
      assert.equal(event.data.object.client_secret, intent.client_secret);
      assert.equal(event.data.object.metadata.order, 'ünïcode');

      const { body, signature } = await inbox.delivered('payment_intent.succeeded', intent.id);
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
      const refunded = await received('charge.refunded', intent.latest_charge);
      assert.deepEqual(refunded.data.previous_attributes, { amount_refunded: 0 });

      const kept = await stripe.events.retrieve(event.id);
      assert.equal(kept.type, 'payment_intent.succeeded');
    });

    test('a webhook endpoint is updated, listed and disabled', async () => {
      const made = await stripe.webhookEndpoints.create({
        url: 'http://127.0.0.1:9/',
        enabled_events: ['payment_intent.succeeded'],
        description: 'of a test',
      });
      assert.match(made.secret, /^whsec_/);

      const updated = await stripe.webhookEndpoints.update(made.id, { disabled: true });
      assert.equal(updated.status, 'disabled');
      assert.equal((await stripe.webhookEndpoints.retrieve(made.id)).secret, undefined);

      // One page: another story may remove the endpoint that a second would begin after.
      const ids = (await stripe.webhookEndpoints.list({ limit: 100 })).data.map(({ id }) => id);
      assert.ok(ids.includes(made.id) && ids.includes(inbox.endpoint.id));

      await stripe.webhookEndpoints.del(made.id);
      await assert.rejects(stripe.webhookEndpoints.retrieve(made.id), { statusCode: 404 });
    });

    test('declined cards', async () => {
      for (const [method, code, declined] of [
        ['pm_card_chargeDeclined', 'card_declined', 'generic_decline'],
        ['pm_card_chargeDeclinedInsufficientFunds', 'card_declined', 'insufficient_funds'],
        ['pm_card_chargeDeclinedExpiredCard', 'expired_card', undefined],
        ['pm_card_chargeDeclinedIncorrectCvc', 'incorrect_cvc', undefined],
        ['pm_card_chargeDeclinedProcessingError', 'processing_error', undefined],
      ]) {
        await assert.rejects(paid({ payment_method: method }), (error) => {
          assert.ok(error instanceof Stripe.errors.StripeCardError);
          assert.equal(error.type, 'StripeCardError');
          assert.equal(error.statusCode, 402);
          assert.equal(error.code, code);
          if (declined) assert.equal(error.decline_code, declined);
          assert.equal(error.payment_intent.status, 'requires_payment_method');
          assert.match(error.requestId, /^req_/);
          return true;
        });
      }

      const intent = await stripe.paymentIntents.create({ ...card, payment_method: 'pm_card_chargeDeclined' });
      await assert.rejects(stripe.paymentIntents.confirm(intent.id), { code: 'card_declined' });
      const event = await received('payment_intent.payment_failed', intent.id);
      assert.equal(event.data.object.last_payment_error.code, 'card_declined');
      const again = await stripe.paymentIntents.confirm(intent.id, { payment_method: 'pm_card_visa' });
      assert.equal(again.status, 'succeeded');
    });

    test('3-D Secure, approved and declined on its page', async () => {
      for (const [result, status] of [['approve', 'succeeded'], ['decline', 'requires_payment_method']]) {
        const intent = await paid({
          payment_method: 'pm_card_authenticationRequired',
          return_url: 'https://shop.example/back',
        });
        assert.equal(intent.status, 'requires_action');
        assert.equal(intent.next_action.type, 'redirect_to_url');
        await received('payment_intent.requires_action', intent.id);

        const page = intent.next_action.redirect_to_url.url;
        assert.match(await (await fetch(page)).text(), /Approve/);

        const answer = await fetch(page, { method: 'POST', body: new URLSearchParams({ result }), redirect: 'manual' });
        assert.equal(answer.status, 303);
        assert.equal(new URL(answer.headers.get('location')).host, 'shop.example');

        assert.equal((await stripe.paymentIntents.retrieve(intent.id)).status, status);
      }
    });

    test('capture of the whole, of a part, of too much', async () => {
      const held = await paid({ capture_method: 'manual' });
      assert.equal(held.status, 'requires_capture');
      assert.equal(held.amount_capturable, 2000);
      await received('payment_intent.amount_capturable_updated', held.id);
      await assert.rejects(stripe.paymentIntents.capture(held.id, { amount_to_capture: 2001 }), (error) => {
        assert.ok(error instanceof Stripe.errors.StripeInvalidRequestError);
        assert.equal(error.statusCode, 400);
        return true;
      });

      const captured = await stripe.paymentIntents.capture(held.id);
      assert.equal(captured.status, 'succeeded');
      assert.equal(captured.amount_received, 2000);
      await received('payment_intent.succeeded', held.id);
      await assert.rejects(stripe.paymentIntents.capture(held.id), { code: 'payment_intent_unexpected_state' });

      const other = await paid({ capture_method: 'manual' });
      const part = await stripe.paymentIntents.capture(other.id, {
        amount_to_capture: 1500,
        expand: ['latest_charge'],
      });
      assert.equal(part.amount_received, 1500);
      assert.equal(part.latest_charge.amount_captured, 1500);
      assert.equal(part.latest_charge.amount_refunded, 500);
    });

    test('cancel', async () => {
      const held = await paid({ capture_method: 'manual' });
      const canceled = await stripe.paymentIntents.cancel(held.id, { cancellation_reason: 'abandoned' });
      assert.equal(canceled.status, 'canceled');
      assert.equal(canceled.cancellation_reason, 'abandoned');
      assert.equal(canceled.amount_capturable, 0);
      await received('payment_intent.canceled', held.id);

      await assert.rejects(stripe.paymentIntents.capture(held.id), (error) => {
        assert.equal(error.code, 'payment_intent_unexpected_state');
        assert.equal(error.payment_intent.status, 'canceled');
        return true;
      });
      const { id } = await paid();
      await assert.rejects(stripe.paymentIntents.cancel(id), { code: 'payment_intent_unexpected_state' });
    });

    test('refunds: a part, too much, the rest, once more', async () => {
      const intent = await paid();
      const part = await stripe.refunds.create({
        payment_intent: intent.id,
        amount: 500,
        reason: 'requested_by_customer',
        metadata: { return: '1' },
      });
      assert.equal(part.status, 'succeeded');
      assert.equal(part.charge, intent.latest_charge);
      assert.equal((await stripe.refunds.retrieve(part.id)).metadata.return, '1');
      assert.equal((await stripe.refunds.update(part.id, { metadata: { return: '2' } })).metadata.return, '2');

      await assert.rejects(stripe.refunds.create({ payment_intent: intent.id, amount: 1501 }), (error) => {
        assert.ok(error instanceof Stripe.errors.StripeInvalidRequestError);
        assert.equal(error.param, 'amount');
        return true;
      });

      const rest = await stripe.refunds.create({ charge: intent.latest_charge });
      assert.equal(rest.amount, 1500);
      await assert.rejects(stripe.refunds.create({ payment_intent: intent.id }), { code: 'charge_already_refunded' });

      const charge = await stripe.charges.retrieve(intent.latest_charge, { expand: ['refunds'] });
      assert.equal(charge.refunded, true);
      assert.equal(charge.amount_refunded, 2000);
      assert.equal(charge.refunds.data.length, 2);

      const ids = [];
      for await (const { id } of stripe.refunds.list({ payment_intent: intent.id, limit: 1 })) ids.push(id);
      assert.deepEqual(ids, [rest.id, part.id]);
    });

    test('twenty refunds at once never exceed', async () => {
      const intent = await paid();
      const answers = await Promise.allSettled(
        Array.from({ length: 20 }, () => stripe.refunds.create({ payment_intent: intent.id, amount: 300 })),
      );
      assert.equal(answers.filter(({ status }) => status === 'fulfilled').length, 6);
      assert.equal((await stripe.charges.retrieve(intent.latest_charge)).amount_refunded, 1800);
    });

    test('a disputed payment', async () => {
      const intent = await paid({ payment_method: 'pm_card_createDispute' });
      const { data } = await stripe.disputes.list({ payment_intent: intent.id });
      assert.equal(data.length, 1);
      assert.equal(data[0].status, 'needs_response');
      assert.equal(data[0].reason, 'fraudulent');
      assert.equal(data[0].amount, 2000);
      await received('charge.dispute.created', data[0].id);
      await assert.rejects(stripe.refunds.create({ payment_intent: intent.id }), { code: 'charge_disputed' });

      await stripe.disputes.update(data[0].id, { evidence: { uncategorized_text: 'winning_evidence' }, submit: true });
      const closed = await received('charge.dispute.closed', data[0].id);
      assert.equal(closed.data.object.status, 'won');

      const other = await paid({ payment_method: 'pm_card_createDisputeInquiry' });
      const inquiry = (await stripe.disputes.list({ charge: other.latest_charge })).data[0];
      assert.equal(inquiry.status, 'warning_needs_response');
    });

    test('balance transactions', async () => {
      const intent = await paid({ expand: ['latest_charge.balance_transaction'] });
      const paidIn = intent.latest_charge.balance_transaction;
      assert.equal(paidIn.type, 'charge');
      assert.equal(paidIn.amount - paidIn.fee, paidIn.net);

      const found = await stripe.balanceTransactions.retrieve(paidIn.id, { expand: ['source'] });
      assert.equal(found.source.id, intent.latest_charge.id);

      const refund = await stripe.refunds.create({ payment_intent: intent.id, expand: ['balance_transaction'] });
      assert.equal(refund.balance_transaction.amount, -2000);
      const listed = await stripe.balanceTransactions.list({ source: refund.id });
      assert.deepEqual(listed.data.map(({ id }) => id), [refund.balance_transaction.id]);

      const balance = await stripe.balance.retrieve();
      assert.equal(balance.object, 'balance');
    });

    test('lists and auto-pagination', async () => {
      const since = Math.floor(Date.now() / 1000) - 60;
      const mark = randomUUID();
      const made = [];
      for (let n = 0; n < 7; n++) {
        made.unshift((await stripe.paymentIntents.create({ ...card, metadata: { mark } })).id);
      }

      const page = await stripe.paymentIntents.list({ limit: 3 });
      assert.equal(page.data.length, 3);
      assert.equal(page.has_more, true);

      const found = [];
      for await (const intent of stripe.paymentIntents.list({ limit: 3, created: { gte: since } })) {
        if (intent.metadata.mark === mark) found.push(intent.id);
        if (found.length === made.length) break;
      }
      assert.deepEqual(found, made);

      const all = await stripe.paymentIntents.list({ starting_after: made[0] }).autoPagingToArray({ limit: 10_000 });
      const mine = all.filter(({ metadata }) => metadata.mark === mark).map(({ id }) => id);
      assert.deepEqual(mine, made.slice(1));
      assert.equal(new Set(all.map(({ id }) => id)).size, all.length);

      const newer = await stripe.paymentIntents.list({ ending_before: made[2] }).autoPagingToArray({ limit: 10_000 });
      assert.ok(newer.some(({ id }) => id === made[0]) && newer.some(({ id }) => id === made[1]));

      const events = await stripe.events.list({ types: ['payment_intent.created'], limit: 100 });
      assert.ok(events.data.every(({ type }) => type === 'payment_intent.created'));
    });

    test('idempotent replay and conflict', async () => {
      const idempotencyKey = randomUUID();
      const first = await paid({}, { idempotencyKey });
      const again = await paid({}, { idempotencyKey });
      assert.equal(again.id, first.id);
      assert.equal(again.lastResponse.headers['idempotent-replayed'], 'true');
      assert.equal(again.lastResponse.idempotencyKey, idempotencyKey);

      await assert.rejects(paid({ amount: 2001 }, { idempotencyKey }), (error) => {
        assert.ok(error instanceof Stripe.errors.StripeIdempotencyError);
        assert.equal(error.statusCode, 400);
        return true;
      });

      const declinedKey = { idempotencyKey: randomUUID() };
      const declined = () => paid({ payment_method: 'pm_card_chargeDeclined' }, declinedKey);
      const ids = [];
      for (const attempt of [declined, declined]) {
        await assert.rejects(attempt(), (error) => ids.push(error.payment_intent.id) > 0);
      }
      assert.equal(ids[0], ids[1]);
    });

    test('a customer saves a card, and pays again while away', async () => {
      const email = `${randomUUID()}@shop.example`;
      const customer = await stripe.customers.create({ email, name: 'Ada', metadata: { crm: '1' } });
      assert.equal((await stripe.customers.update(customer.id, { name: 'Ada L.' })).name, 'Ada L.');
      assert.deepEqual((await stripe.customers.list({ email })).data.map(({ id }) => id), [customer.id]);
      await received('customer.created', customer.id);

      const setup = await stripe.setupIntents.create({
        customer: customer.id,
        payment_method_types: ['card'],
        payment_method: 'pm_card_visa',
        confirm: true,
      });
      assert.equal(setup.status, 'succeeded');
      await received('setup_intent.succeeded', setup.id);
      await received('payment_method.attached', setup.payment_method);

      const saved = await stripe.customers.listPaymentMethods(customer.id, { type: 'card' });
      assert.deepEqual(saved.data.map(({ id }) => id), [setup.payment_method]);
      assert.equal(saved.data[0].customer, customer.id);

      const away = { customer: customer.id, off_session: true };
      const again = await paid({ ...away, payment_method: setup.payment_method, expand: ['customer'] });
      assert.equal(again.status, 'succeeded');
      assert.equal(again.customer.email, email);
      await assert.rejects(paid({ ...away, payment_method: 'pm_card_authenticationRequired' }), (error) => {
        assert.ok(error instanceof Stripe.errors.StripeCardError);
        assert.equal(error.code, 'authentication_required');
        return true;
      });

      const first = await paid({ customer: customer.id, setup_future_usage: 'off_session' });
      assert.equal((await stripe.paymentMethods.retrieve(first.payment_method)).customer, customer.id);

      const detached = await stripe.paymentMethods.detach(setup.payment_method);
      assert.equal(detached.customer, null);
      await received('payment_method.detached', setup.payment_method);
      for (const attempt of [
        () => paid({ ...away, payment_method: setup.payment_method }),
        () => stripe.paymentMethods.attach(setup.payment_method, { customer: customer.id }),
      ]) {
        await assert.rejects(attempt(), (error) => error instanceof Stripe.errors.StripeInvalidRequestError);
      }

      assert.equal((await stripe.customers.del(customer.id)).deleted, true);
      assert.equal((await stripe.customers.retrieve(customer.id)).deleted, true);
    });

    test('a setup that wants 3-D Secure, one that is declined, one that is canceled', async () => {
      const { id: customer } = await stripe.customers.create();
      const setUp = (payment_method, more) =>
        stripe.setupIntents.create({ customer, payment_method_types: ['card'], payment_method, ...more });

      const asked = await setUp('pm_card_authenticationRequired', {
        confirm: true,
        return_url: 'https://shop.example/back',
      });
      assert.equal(asked.status, 'requires_action');
      const body = new URLSearchParams({ result: 'approve' });
      await fetch(asked.next_action.redirect_to_url.url, { method: 'POST', body, redirect: 'manual' });
      assert.equal((await stripe.setupIntents.retrieve(asked.id)).status, 'succeeded');

      await assert.rejects(setUp('pm_card_chargeDeclined', { confirm: true }), (error) => {
        assert.ok(error instanceof Stripe.errors.StripeCardError);
        assert.equal(error.setup_intent.status, 'requires_payment_method');
        return true;
      });

      const waiting = await setUp('pm_card_visa');
      assert.equal(waiting.status, 'requires_confirmation');
      assert.equal((await stripe.setupIntents.cancel(waiting.id)).status, 'canceled');
    });

    test('payment methods', async () => {
      const made = await stripe.paymentMethods.create({ type: 'card', card: { token: 'tok_mastercard' } });
      assert.equal(made.card.brand, 'mastercard');
      assert.equal(made.customer, null);

      const { id: customer } = await stripe.customers.create();
      assert.equal((await stripe.paymentMethods.attach(made.id, { customer })).customer, customer);
      const updated = await stripe.paymentMethods.update(made.id, { billing_details: { name: 'Grace' } });
      assert.equal(updated.billing_details.name, 'Grace');
      const listed = await stripe.paymentMethods.list({ customer, type: 'card' });
      assert.deepEqual(listed.data.map(({ id }) => id), [made.id]);
      await assert.rejects(paid({ payment_method: made.id }), { type: 'StripeInvalidRequestError' });
      assert.equal((await paid({ payment_method: made.id, customer })).status, 'succeeded');
    });

    test('accounts', async () => {
      const account = await (stripe.accounts.retrieveCurrent ?? stripe.accounts.retrieve).call(stripe.accounts);
      assert.match(account.id, /^acct_/);
      assert.equal((await stripe.accounts.retrieve(account.id)).id, account.id);
      await assert.rejects(stripe.paymentIntents.list({}, { stripeAccount: 'acct_other' }), (error) => {
        assert.ok(error instanceof Stripe.errors.StripePermissionError);
        assert.equal(error.code, 'account_invalid');
        return true;
      });
    });

    test('errors', async () => {
      const { paymentIntents } = stripe;
      for (const [attempt, expected] of [
        [() => paymentIntents.retrieve('pi_none'), { code: 'resource_missing', statusCode: 404, param: 'intent' }],
        [() => paymentIntents.create({ ...card, amount: 49 }), { code: 'amount_too_small' }],
        [() => paymentIntents.create({ ...card, colour: 'red' }), { code: 'parameter_unknown', param: 'colour' }],
        [() => paymentIntents.create({ currency: 'usd' }), { code: 'parameter_missing', param: 'amount' }],
      ]) {
        await assert.rejects(attempt(), (error) => {
          assert.ok(error instanceof Stripe.errors.StripeInvalidRequestError);
          for (const [field, value] of Object.entries(expected)) assert.equal(error[field], value);
          return true;
        });
      }

      await assert.rejects(connect('sk_live_nobody').paymentIntents.list(), (error) => {
        assert.ok(error instanceof Stripe.errors.StripeAuthenticationError);
        assert.equal(error.statusCode, 401);
        return true;
      });
    });

    test('what is not covered is refused by its name', async () => {
      for (const [resource, attempt] of [
        ['invoices', () => stripe.invoices.list()],
        ['products', () => stripe.products.create({ name: 'Shirt' })],
        ['checkout', () => stripe.checkout.sessions.list()],
        ['invoice_payments', stripe.invoicePayments && (() => stripe.invoicePayments.list())],
        ['payment_records', stripe.paymentRecords && (() => stripe.paymentRecords.retrieve('pr_1'))],
        ['/v2/core/events', stripe.v2?.core.events && (() => stripe.v2.core.events.retrieve('evt_1'))],
      ]) {
        if (!attempt) continue; // the client is older than the resource
        await assert.rejects(attempt(), (error) => {
          assert.ok(error.message.includes(resource), `${resource}: ${error.message}`);
          assert.equal(error.statusCode, 404);
          return true;
        });
      }
    });
  });
}
