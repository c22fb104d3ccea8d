// The sandbox's payment page in Chromium, as the customer of a shop uses it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const base = process.env.SANDBOX_URL ?? 'http://127.0.0.1:12111';

// The shop is a site of its own: it makes intents with its secret key, and shows
// where the customer comes back to.
const shop = {};
let browser;

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] });
  shop.server = http.createServer((request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>Shop</title><h1>Back in the shop</h1>');
  });
  shop.server.listen(0, '127.0.0.1');
  await once(shop.server, 'listening');
  shop.url = `http://127.0.0.1:${shop.server.address().port}/done?cart=9`;
});

after(async () => {
  await browser.close();
  shop.server.closeAllConnections();
  shop.server.close();
});

async function api(method, route, form, key = 'sk_test_page') {
  const response = await fetch(`${base}/v1/${route}`, {
    method,
    headers: { Authorization: `Bearer ${key}` },
    body: method === 'POST' ? new URLSearchParams(form) : undefined,
  });
  return response.json();
}

const payment = (more) =>
  api('POST', 'payment_intents', { amount: 4999, currency: 'eur', description: 'One pair of running shoes', ...more });

const pageOf = (intent, returnURL) => {
  const url = new URL(`${base}/pay/${intent.id}`);
  url.searchParams.set('client_secret', intent.client_secret);
  if (returnURL) url.searchParams.set('return_url', returnURL);
  return url.href;
};

// visits opens an intent's page in a browser of its own, and ends in a picture.
function visits(name, javaScriptEnabled, run) {
  test(`${name}, ${javaScriptEnabled ? 'with' : 'without'} JavaScript`, async () => {
    const context = await browser.newContext({ javaScriptEnabled, viewport: { width: 900, height: 1150 } });
    context.setDefaultTimeout(10_000);
    const page = await context.newPage();
    const problems = [];
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
    page.on('pageerror', (error) => problems.push(String(error)));
    const picture = async (of) => {
      if (process.env.SCREENSHOTS) {
        const file = `${name}-${of}-${javaScriptEnabled ? 'js' : 'nojs'}.png`.replaceAll(/[^a-z0-9.]+/gi, '-');
        await page.screenshot({ path: path.join(process.env.SCREENSHOTS, file), fullPage: true });
      }
    };
    try {
      await run(page, picture, problems);
    } finally {
      await context.close();
    }
  });
}

function cameBack(page, kind, intent, status) {
  const url = new URL(page.url());
  assert.equal(url.origin + url.pathname, new URL(shop.url).origin + '/done');
  assert.deepEqual(Object.fromEntries(url.searchParams), {
    cart: '9',
    [kind]: intent.id,
    [`${kind}_client_secret`]: intent.client_secret,
    redirect_status: status,
  });
}

for (const js of [true, false]) {
  visits('a card that works', js, async (page, picture, problems) => {
    const intent = await payment();
    await page.goto(pageOf(intent, shop.url));
    await page.getByRole('heading', { name: '49.99 EUR' }).waitFor();
    await picture('open');
    await page.getByLabel('Mastercard •••• 4444').check();
    await page.getByRole('button', { name: 'Pay 49.99 EUR' }).click();
    await page.getByRole('heading', { name: 'Back in the shop' }).waitFor();
    cameBack(page, 'payment_intent', intent, 'succeeded');
    assert.equal((await api('GET', `payment_intents/${intent.id}`)).status, 'succeeded');
    assert.deepEqual(problems, []);

    await page.goto(pageOf(intent, shop.url));
    await page.getByText('Paid. Thank you!').waitFor();
    await picture('paid');
    await page.getByRole('link', { name: 'Back to the shop' }).click();
    cameBack(page, 'payment_intent', intent, 'succeeded');
  });

  visits('3-D Secure, approved', js, async (page, picture) => {
    const intent = await payment();
    await page.goto(pageOf(intent, shop.url));
    await page.getByLabel(/every time/).check();
    await page.getByRole('button', { name: /Pay/ }).click();
    await page.getByRole('heading', { name: '3-D Secure test page' }).waitFor();
    await picture('question');
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.getByRole('heading', { name: 'Back in the shop' }).waitFor();
    cameBack(page, 'payment_intent', intent, 'succeeded');
  });

  visits('3-D Secure, declined, then another card', js, async (page) => {
    const intent = await payment();
    await page.goto(pageOf(intent, shop.url));
    await page.getByLabel(/every time/).check();
    await page.getByRole('button', { name: /Pay/ }).click();
    await page.getByRole('button', { name: 'Decline' }).click();
    await page.getByRole('heading', { name: 'Back in the shop' }).waitFor();
    cameBack(page, 'payment_intent', intent, 'failed');

    await page.goto(pageOf(intent, shop.url));
    await page.getByRole('alert').waitFor();
    await page.getByLabel('Visa •••• 4242').check();
    await page.getByRole('button', { name: /Pay/ }).click();
    await page.getByRole('heading', { name: 'Back in the shop' }).waitFor();
    cameBack(page, 'payment_intent', intent, 'succeeded');
  });

  visits('a declined card', js, async (page, picture) => {
    const intent = await payment();
    await page.goto(pageOf(intent));
    await page.getByLabel(/insufficient funds/).last().check();
    await page.getByRole('button', { name: /Pay/ }).click();
    assert.equal(await page.getByRole('alert').textContent(), 'Your card has insufficient funds.');
    await picture('declined');

    // Any other test card, by its name.
    await page.getByLabel('Another test payment method').check();
    await page.getByLabel('Name of a test payment method').selectOption('pm_card_jcb');
    await page.getByRole('button', { name: /Pay/ }).click();
    await page.getByText('Paid. Thank you!').waitFor();
  });

  visits('a bank account that takes days', js, async (page, picture) => {
    const intent = await payment({ currency: 'usd', 'payment_method_types[]': 'us_bank_account' });
    await page.goto(pageOf(intent, shop.url));
    await page.getByLabel(/then pays/).check();
    await picture('open');
    await page.getByRole('button', { name: 'Pay 49.99 USD' }).click();
    await page.getByRole('heading', { name: 'Back in the shop' }).waitFor();
    cameBack(page, 'payment_intent', intent, 'pending');
    assert.equal((await api('GET', `payment_intents/${intent.id}`)).status, 'processing');
  });

  visits('paying later', js, async (page, picture) => {
    const intent = await payment({ 'payment_method_types[0]': 'card', 'payment_method_types[1]': 'klarna' });
    await page.goto(pageOf(intent, shop.url));
    await page.getByLabel('Klarna').check();
    await page.getByRole('button', { name: /Pay/ }).click();
    await page.getByRole('heading', { name: 'Klarna test page' }).waitFor();
    await picture('question');
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.getByRole('heading', { name: 'Back in the shop' }).waitFor();
    cameBack(page, 'payment_intent', intent, 'succeeded');
  });

  visits('a card that is saved', js, async (page, picture) => {
    const customer = await api('POST', 'customers', { name: 'Jenny' });
    const intent = await api('POST', 'setup_intents', { customer: customer.id });
    await page.goto(pageOf(intent, shop.url));
    await picture('open');
    await page.getByLabel(/until it has been set up/).check();
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.getByRole('heading', { name: 'Back in the shop' }).waitFor();
    cameBack(page, 'setup_intent', intent, 'succeeded');

    // And now it pays while the customer is away.
    const saved = await api('GET', `customers/${customer.id}/payment_methods`);
    const paid = await payment({
      customer: customer.id, payment_method: saved.data[0].id, confirm: true, off_session: true,
      'payment_method_types[]': 'card',
    });
    assert.equal(paid.status, 'succeeded');
  });
}

// The shop's own page does what Stripe.js would, from another origin.
visits('a page of the shop', true, async (page) => {
  await page.goto(shop.url);
  const call = (route, form, key) =>
    page.evaluate(
      async ([url, form, key]) => {
        try {
          const answer = await fetch(url, {
            method: form ? 'POST' : 'GET',
            headers: { Authorization: `Bearer ${key}`, 'Stripe-Version': '2023-10-16' },
            body: form && new URLSearchParams(form),
          });
          return { status: answer.status, body: await answer.json() };
        } catch (error) {
          return { error: String(error) };
        }
      },
      [`${base}/v1/${route}`, form, key],
    );

  const intent = await payment();
  const secret = `client_secret=${intent.client_secret}`;
  const method = await call('payment_methods', {
    type: 'card', 'card[number]': '4242424242424242', 'card[exp_month]': '4', 'card[exp_year]': '2044', 'card[cvc]': '314',
  }, 'pk_test_page');
  assert.equal(method.status, 200);

  const confirmed = await call(`payment_intents/${intent.id}/confirm`, {
    client_secret: intent.client_secret, payment_method: method.body.id, return_url: shop.url,
  }, 'pk_test_page');
  assert.equal(confirmed.body.status, 'succeeded');
  assert.equal(confirmed.body.metadata, undefined);

  const read = await call(`payment_intents/${intent.id}?${secret}`, undefined, 'pk_test_page');
  assert.equal(read.body.status, 'succeeded');

  // A secret key has no business there.
  for (const route of ['payment_intents', 'customers']) {
    assert.match((await call(route, { amount: 1000, currency: 'usd' }, 'sk_test_page')).error, /Failed to fetch/);
  }
});
