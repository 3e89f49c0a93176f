/** One request over wasi:http in steps: sends its body, and hands over the response when its headers are there. */

import { handle } from 'wasi:http/outgoing-handler@0.2.12';
import { Fields, OutgoingBody, OutgoingRequest, RequestOptions, httpErrorCode } from 'wasi:http/types@0.2.12';

import { Failure } from './failure.js';
import { mustRun, until } from './loop.js';
import { address, byName, maybe, text, textOrNumber } from './shape.js';
import { DISPOSE, bytesOf, chunk, iterated, piece, readAll, ready, said, using, write } from './streams.js';

const METHODS = ['get', 'head', 'post', 'put', 'delete', 'patch', 'options'];
const SECOND_NANOSECONDS = 1_000_000_000;
const OPTIONS = ['method', 'headers', 'json', 'body', 'bytesMax', 'timeouts'];
const TIMEOUTS = { connect: 'setConnectTimeout', firstByte: 'setFirstByteTimeout', betweenBytes: 'setBetweenBytesTimeout' };

/** All steps, and their result; others go on meanwhile. A signal may end it before. */
export async function awaited(steps, signal) {
  mustRun('a request');
  let step = steps.next();
  while (!step.done) {
    let value;
    try {
      value = await (Array.isArray(step.value) ? until(step.value, signal) : step.value);
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(value);
  }
  return step.value;
}

/** The steps of a request, up to the headers of its response. */
export function* exchange(target, options) {
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) throw new TypeError(`a request has no \`${unknown}\`; it has ${OPTIONS.join(', ')}`);
  address(target, 'request.url');
  maybe(text)(options.method, 'request.method');
  maybe(byName(textOrNumber))(options.headers, 'request.headers');
  maybe(byName(() => undefined))(options.timeouts, 'request.timeouts');
  const url = String(target);
  const { json } = options;
  const [method, headers, body, timeouts] = [options.method ?? 'GET', options.headers ?? {}, options.body ?? '', options.timeouts ?? {}];
  const fields = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]));
  if (json !== undefined && !fields.has('content-type')) fields.set('content-type', 'application/json');
  const data = json === undefined ? body : JSON.stringify(json);
  const isWhole = typeof data === 'string' || data instanceof Uint8Array;
  const length = isWhole ? bytesOf(data).length : undefined;
  if (length > 0 && !fields.has('content-length')) fields.set('content-length', String(length));
  const request = outgoing(method, url, fields);
  const sent = request.body();
  let future;
  try {
    future = handle(request, requestOptions(timeouts));
    return new Incoming(url, yield* answered(future, sent, iterated(data), length));
  } catch (error) {
    // The host gives the request up.
    future?.[DISPOSE]();
    throw failure(url, error);
  }
}

function outgoing(method, url, headers) {
  const parts = /^(https?):\/\/([^/?#]+)(\/[^?#]*)?(\?[^#]*)?(?:#.*)?$/i.exec(url);
  if (!parts) throw Failure.configuration(`\`${url}\` is not a URL that begins with http:// or https://`);
  const [, scheme, authority, path = '/', query = ''] = parts;
  let fields;
  try {
    fields = Fields.fromList([...headers].map(([name, value]) => [name, bytesOf(value)]));
  } catch (error) {
    throw Failure.configuration(`a header of the request to ${url} is refused: ${error?.payload?.tag}`);
  }
  const request = new OutgoingRequest(fields);
  const tag = method.toLowerCase();
  try {
    request.setMethod(METHODS.includes(tag) ? { tag } : { tag: 'other', val: method });
    request.setScheme({ tag: scheme.toLowerCase() === 'http' ? 'HTTP' : 'HTTPS' });
    request.setAuthority(authority);
    request.setPathWithQuery(path + query);
  } catch {
    throw Failure.configuration(`\`${method} ${url}\` is not a request that can be made`);
  }
  return request;
}

function requestOptions(timeouts) {
  const options = new RequestOptions();
  for (const [name, seconds] of Object.entries(timeouts)) {
    if (!(name in TIMEOUTS)) throw new TypeError(`there is no timeout \`${name}\`; there are ${Object.keys(TIMEOUTS).join(', ')}`);
    if (!(seconds > 0)) throw new TypeError(`the timeout \`${name}\` is a number of seconds above 0`);
    options[TIMEOUTS[name]](BigInt(Math.round(seconds * SECOND_NANOSECONDS)));
  }
  return options;
}

/** Sends the body, and waits for the answer. */
function* answered(future, body, iterator, length) {
  const answer = future.subscribe();
  try {
    if (length === 0 || (yield* sendAll(body, iterator, future, answer))) OutgoingBody.finish(body, undefined);
    while (!answer.ready()) yield* ready(future);
  } finally {
    answer[DISPOSE]();
    // Runs out where the request was refused in the middle of it.
    iterator.return?.();
  }
  const { val: result } = future.get();
  if (result.tag === 'err') throw { payload: result.val };
  return { response: result.val, future };
}

/** Whether all was sent. A server may answer before: what it says counts, and nobody reads the rest. */
function* sendAll(body, iterator, future, answer) {
  const stream = body.write();
  const isOver = () => answer.ready();
  try {
    for (;;) {
      const bytes = yield* piece(iterator);
      if (bytes === undefined) break;
      yield* write(stream, bytes, isOver, [future]);
      if (isOver()) return false;
    }
    stream.flush();
    while (!isOver() && stream.checkWrite() === 0n) yield* ready(stream, future);
    return true;
  } catch (error) {
    // The host wants no more of it: the answer says why.
    if (error?.payload?.tag === 'closed' || error?.payload?.tag === 'last-operation-failed') return false;
    throw error;
  } finally {
    stream[DISPOSE]();
  }
}

/** A response whose body is still to come, in steps. */
class Incoming {
  #resources;
  #stream;

  constructor(url, { response, future }) {
    this.url = url;
    this.status = response.status();
    this.headers = new Map();
    for (const [name, value] of using(response.headers(), (fields) => fields.entries())) {
      const [key, text] = [name.toLowerCase(), new TextDecoder().decode(value)];
      this.headers.set(key, this.headers.has(key) ? `${this.headers.get(key)}, ${text}` : text);
    }
    const body = response.consume();
    this.#stream = body.stream();
    this.#resources = [this.#stream, body, response, future];
  }

  *chunk() {
    return yield* this.#reading(() => chunk(this.#stream));
  }

  *all(bytesMax) {
    try {
      return yield* this.#reading(() => readAll(this.#stream, bytesMax, `the response of ${this.url}`));
    } finally {
      this.close();
    }
  }

  *#reading(steps) {
    if (this.#resources.length === 0) throw new TypeError(`the response of ${this.url} was read or closed before`);
    try {
      return yield* steps();
    } catch (error) {
      throw failure(this.url, error);
    }
  }

  close() {
    for (const resource of this.#resources.splice(0)) resource[DISPOSE]();
  }
}

function failure(url, error) {
  const { payload } = error ?? {};
  const code = payload?.tag === 'last-operation-failed' ? httpErrorCode(payload.val) : payload;
  switch (code?.tag) {
    case undefined:
      if (payload?.tag !== 'last-operation-failed') return said(error);
      return Failure.systemUnavailable(`the response of ${url} broke off: ${said(error).message}`);
    case 'HTTP-request-denied':
      return Failure.permission(
        `no grant allows the request to ${url}, or a secret in it; the log says what is missing: a grant, like ` +
          '`http = ["https://example.com"]`, or an ask of the plugin',
      );
    case 'destination-IP-prohibited':
      return Failure.permission(
        `the request to ${url} leads to a private address; grant its origin with \`private = true\`, if it is meant to`,
      );
  }
  const plain = (_, value) => (typeof value === 'bigint' ? Number(value) : value);
  const detail = code.val === undefined ? '' : ` (${JSON.stringify(code.val, plain)})`;
  return Failure.systemUnavailable(`the request to ${url} failed: ${code.tag}${detail}`);
}
