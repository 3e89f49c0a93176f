/** The stand-in of `wasi:io/streams`: all is there at once. */

import { refused } from './state.mjs';

const ROOM_BYTES = 64n * 1024n;

export class Pollable {
  constructor(due = 0n) {
    this.due = due;
  }

  ready() {
    return true;
  }

  block() {}

  [Symbol.dispose ?? Symbol.for('dispose')]() {}
}

export class Resource {
  subscribe() {
    return new Pollable();
  }

  [Symbol.dispose ?? Symbol.for('dispose')]() {}
}

export class InputStream extends Resource {
  constructor(chunks) {
    super();
    this.chunks = chunks.map((chunk) => new Uint8Array(chunk)).filter((chunk) => chunk.length > 0);
  }

  read(bytesMax) {
    const [first] = this.chunks;
    if (first === undefined) throw refused('closed');
    const bytes = first.subarray(0, Number(bytesMax));
    if (bytes.length === first.length) this.chunks.shift();
    else this.chunks[0] = first.subarray(bytes.length);
    return bytes;
  }
}

export class OutputStream extends Resource {
  constructor(take) {
    super();
    this.write = take;
  }

  checkWrite() {
    return ROOM_BYTES;
  }

  flush() {}

  blockingFlush() {}
}
