/**
 * Requests to hosts that the operator granted.
 *
 *     const token = secrets.standIn('api-token');
 *     const { id } = http.fetch('https://api.example.com/v1/deployments', {
 *       method: 'POST',
 *       headers: { authorization: `Bearer ${token}` },
 *       json: { release: 7 },
 *     }).succeeded().json();
 *
 * Redirects are not followed: each would be a request of its own, to a host that may not be granted.
 */

import { handle } from 'wasi:http/outgoing-handler@0.2.12';
import { Fields, OutgoingBody, OutgoingRequest } from 'wasi:http/types@0.2.12';

import { Failure } from './failure.js';
import { bytesOf, readAll, using, writeAll } from './streams.js';

const METHODS = ['get', 'head', 'post', 'put', 'delete', 'patch', 'options'];
/** What a failure shows of a response. */
const SHOWN_MAX = 1024;

/** A whole response, whatever its status. */
class Response {
  constructor(url, status, headers, bytes) {
    this.url = url;
    this.status = status;
    /** By lower-case name; several of one name are joined by commas. @type {Map<string, string>} */
    this.headers = headers;
    /** The body. @type {Uint8Array} */
    this.bytes = bytes;
  }

  /** Whether the status is 200 to 299. */
  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  /** The body as UTF-8; what is none is replaced. */
  text() {
    return new TextDecoder().decode(this.bytes);
  }

  /** The response itself if its status is 200 to 299, and else a failure that says what came instead. */
  succeeded() {
    if (this.ok) return this;
    throw new Failure(`${this.url} answered ${this.status}: ${this.text().slice(0, SHOWN_MAX).trim()}`);
  }

  json() {
    try {
      return JSON.parse(this.text());
    } catch (error) {
      throw new Failure(`${this.url} answered ${this.status} with what is no JSON: ${error.message}`);
    }
  }
}

/**
 * Sends a request and reads the whole response, of at most `bytesMax` bytes. It is like the web's `fetch`, but synchronous.
 * `json` takes the place of `body`, which is a text or a `Uint8Array`.
 *
 * A header value may hold a secret's stand-in; see `secrets`. Fails with *configuration* for what is no URL or header,
 * *permission* where no grant allows it, and *system unavailable* where no response comes.
 *
 * @param {string} url
 * @param {{ method?: string, headers?: Record<string, string>, json?: any, body?: string | Uint8Array, bytesMax?: number }} options
 */
export function fetch(url, { method = 'GET', headers = {}, json, body = '', bytesMax = 16 * 1024 * 1024 } = {}) {
  const fields = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]));
  if (json !== undefined) {
    body = JSON.stringify(json);
    if (!fields.has('content-type')) fields.set('content-type', 'application/json');
  }
  const bytes = bytesOf(body);
  if (bytes.length > 0 && !fields.has('content-length')) fields.set('content-length', String(bytes.length));
  const request = outgoing(method, url, fields);
  try {
    return answer(request, url, bytes, bytesMax);
  } catch (error) {
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

function answer(request, url, bytes, bytesMax) {
  const body = request.body();
  return using(handle(request, undefined), (future) => {
    if (bytes.length > 0) {
      using(body.write(), (stream) => {
        try {
          writeAll(stream, bytes);
        } catch {
          // A host that wants no more of it may well have answered.
        }
      });
    }
    OutgoingBody.finish(body, undefined);
    using(future.subscribe(), (answered) => answered.block());
    const result = future.get().val;
    if (result.tag === 'err') throw { payload: result.val };
    return using(result.val, (response) => {
      const headers = new Map();
      for (const [name, value] of using(response.headers(), (fields) => fields.entries())) {
        const [key, text] = [name.toLowerCase(), new TextDecoder().decode(value)];
        headers.set(key, headers.has(key) ? `${headers.get(key)}, ${text}` : text);
      }
      const received = using(response.consume(), (incoming) =>
        using(incoming.stream(), (stream) => readAll(stream, bytesMax, `the response of ${url}`)),
      );
      return new Response(url, response.status(), headers, received);
    });
  });
}

function failure(url, error) {
  const code = error?.payload;
  switch (code?.tag) {
    case undefined:
      return error;
    case 'HTTP-request-denied':
      return Failure.permission(
        `no grant allows the request to ${url}; grant its origin to this action, like \`http = ["https://example.com"]\``,
      );
    case 'destination-IP-prohibited':
      return Failure.permission(
        `the request to ${url} leads to a private address; grant its origin with \`private = true\`, if it is meant to`,
      );
  }
  const detail = code.val === undefined ? '' : ` (${JSON.stringify(code.val)})`;
  return Failure.systemUnavailable(`the request to ${url} failed: ${code.tag}${detail}`);
}
