/** Requests to hosts that the operator granted; pipewright.d.ts has the whole documentation. */

import { awaited, exchange } from './exchange.js';
import { Failure } from './failure.js';
import { limit } from './shape.js';
import { block } from './streams.js';

const BYTES_MAX = 16 * 1024 * 1024;
/** What a failure shows of a response. */
const SHOWN_MAX = 1024;

/** What every response has: where it came from, its status and its headers. */
class Head {
  constructor({ url, status, headers }) {
    this.url = url;
    this.status = status;
    this.headers = headers;
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }
}

/** A whole response. */
class Response extends Head {
  constructor(head, bytes) {
    super(head);
    this.bytes = bytes;
  }

  text() {
    return new TextDecoder().decode(this.bytes);
  }

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

/** A response whose body is still to come. */
class Streamed extends Head {
  #incoming;

  constructor(incoming) {
    super(incoming);
    this.#incoming = incoming;
  }

  *[Symbol.iterator]() {
    try {
      for (;;) {
        const bytes = block(this.#incoming.chunk());
        if (bytes === undefined) return;
        yield bytes;
      }
    } finally {
      this.close();
    }
  }

  read({ bytesMax = BYTES_MAX } = {}) {
    limit(bytesMax, 'read.bytesMax');
    return new Response(this, block(this.#incoming.all(bytesMax)));
  }

  close() {
    this.#incoming.close();
  }
}

export function fetch(url, options = {}) {
  return block(whole(url, options));
}

export function stream(url, options = {}) {
  return new Streamed(block(exchange(url, options)));
}

export function send(url, options = {}) {
  return awaited(whole(url, options));
}

function* whole(url, { bytesMax = BYTES_MAX, ...options }) {
  limit(bytesMax, 'request.bytesMax');
  const incoming = yield* exchange(url, options);
  return new Response(incoming, yield* incoming.all(bytesMax));
}
