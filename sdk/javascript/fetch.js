/** The web's `fetch`, over the same requests as `http`: what packages of npm call, and several requests at once. */

import { awaited, exchange } from './exchange.js';
import { Failure } from './failure.js';
import { mustRun } from './loop.js';

/** The statuses whose responses have no body. */
const BODILESS = [101, 103, 204, 205, 304];
const REDIRECTS = [301, 302, 303, 307, 308];

export async function fetch(input, init = {}) {
  mustRun('`fetch`');
  const { timeouts, ...plain } = init;
  // The engine's own request knows the defaults, and makes bytes of forms; what is streamed it does not need to see.
  const isStreamed = typeof plain.body?.[Symbol.asyncIterator] === 'function';
  const request = new Request(input, isStreamed ? { ...plain, body: undefined } : plain);
  const body = isStreamed ? plain.body : new Uint8Array(await request.arrayBuffer());
  const signal = plain.signal ?? (input instanceof Request ? input.signal : undefined);
  const { method, url } = request;
  const headers = Object.fromEntries(request.headers);
  const incoming = await awaited(exchange(url, { method, headers, body, timeouts }), signal);
  if (REDIRECTS.includes(incoming.status) && init.redirect !== 'manual') {
    incoming.close();
    throw new Failure(
      `${url} answered ${incoming.status} to ${incoming.headers.get('location')}; redirects are not followed, since each may ` +
        "need a grant of its own: ask for that URL, or say `redirect: 'manual'`",
    );
  }
  return response(url, incoming, method, signal);
}

function response(url, incoming, method, signal) {
  const { status, headers } = incoming;
  const isBodiless = method === 'HEAD' || BODILESS.includes(status);
  if (isBodiless) incoming.close();
  const made = new Response(isBodiless ? null : stream(incoming, signal), { status, headers: [...headers] });
  Object.defineProperty(made, 'url', { value: url });
  return made;
}

function stream(incoming, signal) {
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const bytes = await awaited(incoming.chunk(), signal);
          if (bytes === undefined) {
            incoming.close();
            controller.close();
          } else {
            controller.enqueue(bytes);
          }
        } catch (error) {
          controller.error(error);
        }
      },
      cancel: () => incoming.close(),
    },
    // The host has bytes ready before they are asked for; another buffer would only hold them twice.
    { highWaterMark: 0 },
  );
}
