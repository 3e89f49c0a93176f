/** The stand-in of `wasi:http/outgoing-handler`: each request must be the next of the test's list, and gets its answer. */

import assert from 'node:assert/strict';

import { call } from './state.mjs';
import { Resource } from './streams.mjs';
import { IncomingResponse } from './types.mjs';

export function handle(request) {
  // The answer waits for the body, which is sent after this.
  let given = false;
  return Object.assign(new Resource(), {
    get() {
      assert(!given, 'the answer of a request is taken once');
      given = true;
      const running = call('a request');
      try {
        return { tag: 'ok', val: answer(request, running) };
      } catch (error) {
        // The plugin may take it for a failure of its own; the test says it.
        running.unmet ??= error;
        throw error;
      }
    },
  });
}

function answer(request, { http, requests, standIns }) {
  const said = `${request.method} ${request.scheme}://${request.authority}${request.path}`;
  const decoder = new TextDecoder();
  const headers = Object.fromEntries(request.fields.entries().map(([name, value]) => [name, put(decoder.decode(value), standIns)]));
  const body = decoder.decode(Buffer.concat(request.body().chunks));
  requests.push({ request: said, headers, body });
  if (!http) return { tag: 'err', val: { tag: 'HTTP-request-denied' } };
  const next = http.shift();
  assert(next, `${said}: \`http\` of the test has no request more`);
  assert.equal(said, next.request, 'the next request is another one than in `http` of the test');
  check(next.with, headers, body, said);
  if (next.error !== undefined) return { tag: 'err', val: { tag: next.error } };
  const isJson = next.json !== undefined;
  const fields = { ...(isJson ? { 'content-type': 'application/json' } : {}), ...next.headers };
  const text = isJson ? JSON.stringify(next.json) : (next.body ?? '');
  const encoder = new TextEncoder();
  return {
    tag: 'ok',
    val: new IncomingResponse({
      status: next.status ?? 200,
      headers: Object.entries(fields).map(([name, value]) => [name, encoder.encode(value)]),
      bytes: encoder.encode(text),
    }),
  };
}

/** With the values of secrets in the place of their stand-ins. */
function put(text, standIns) {
  return [...standIns].reduce((text, [standIn, value]) => text.replaceAll(standIn, value), text);
}

function check({ headers: wanted = {}, body: text, json } = {}, headers, body, said) {
  for (const [name, value] of Object.entries(wanted)) assert.equal(headers[name.toLowerCase()], value, `${said}: the header ${name}`);
  if (text !== undefined) assert.equal(body, text, `${said}: the body`);
  if (json !== undefined) assert.deepEqual(JSON.parse(body), json, `${said}: the body`);
}
