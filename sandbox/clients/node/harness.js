// What the stories need: the clients, and a server that receives webhooks.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';

// patience, in milliseconds, is far above what a delivery on one machine takes.
const patience = 30_000;
const base = new URL(process.env.SANDBOX_URL ?? 'http://127.0.0.1:12111');

// clients are those of package.json, each with the API version that it was made for.
export const clients = await Promise.all(
  Object.keys(JSON.parse(readFileSync(new URL('package.json', import.meta.url))).devDependencies).map(async (name) => {
    const { default: Stripe } = await import(name);
    const connect = (key) =>
      new Stripe(key, {
        protocol: 'http',
        host: base.hostname,
        port: base.port,
        maxNetworkRetries: 0,
        telemetry: false,
      });
    return { name, Stripe, connect, version: connect('sk_test_version').getApiField('version') };
  }),
);

// openInbox receives webhooks and keeps their raw bodies.
export async function openInbox() {
  const deliveries = [];
  const waiting = [];
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    deliveries.push({ body: Buffer.concat(chunks), signature: request.headers['stripe-signature'] });
    response.end();
    waiting.splice(0).forEach((wake) => wake());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    url: `http://127.0.0.1:${server.address().port}/hook`,
    close() {
      server.closeAllConnections();
      server.close();
    },
    // delivered waits for an event of a type about an object.
    async delivered(type, id) {
      for (;;) {
        const found = deliveries.find(({ body }) => {
          const event = JSON.parse(body);
          return event.type === type && event.data.object.id === id;
        });
        if (found) return found;
        await new Promise((wake, fail) => {
          const timer = setTimeout(() => fail(new Error(`no webhook ${type} of ${id} came`)), patience);
          waiting.push(() => wake(clearTimeout(timer)));
        });
      }
    },
  };
}
