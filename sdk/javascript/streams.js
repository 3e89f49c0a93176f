/**
 * The host's byte streams. What waits is a generator that yields what it waits for, so that the same steps serve a synchronous
 * call, which blocks, and an asynchronous one.
 */

import { poll } from 'wasi:io/poll@0.2.12';

import { Failure } from './failure.js';

/** As much as the host hands over at once; smaller pieces cost a call each. */
const CHUNK_BYTES_MAX = 64 * 1024;

export const DISPOSE = Symbol.dispose ?? Symbol.for('dispose');

/** Uses a resource of the host, and gives it back. */
export function using(resource, use) {
  try {
    return use(resource);
  } finally {
    resource[DISPOSE]();
  }
}

/** One step: waits until one of these streams and futures is ready. */
export function* ready(...resources) {
  const pollables = resources.map((resource) => resource.subscribe());
  try {
    yield pollables;
  } finally {
    for (const pollable of pollables) pollable[DISPOSE]();
  }
}

/** All steps, and their result; the host is asked to wait. */
export function block(steps) {
  let value;
  for (;;) {
    const step = steps.next(value);
    if (step.done) return step.value;
    if (!Array.isArray(step.value)) {
      steps.return();
      throw new TypeError('what comes asynchronously can only be sent by `fetch` or `http.send`, which are awaited');
    }
    poll(step.value);
  }
}

/** One chunk; `undefined` at the end. */
export function* chunk(stream) {
  for (;;) {
    let bytes;
    try {
      bytes = stream.read(BigInt(CHUNK_BYTES_MAX));
    } catch (error) {
      if (error?.payload?.tag === 'closed') return undefined;
      throw error;
    }
    if (bytes.length > 0) return own(bytes);
    yield* ready(stream);
  }
}

/** All of a stream, of at most `bytesMax` bytes. */
export function* readAll(stream, bytesMax, what) {
  const chunks = [];
  let length = 0;
  for (;;) {
    const bytes = yield* chunk(stream);
    if (bytes === undefined) break;
    length += bytes.length;
    if (length > bytesMax) throw new Failure(`${what} is larger than ${bytesMax} bytes; raise \`bytesMax\`, or take it in chunks`);
    chunks.push(bytes);
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const bytes of chunks) {
    all.set(bytes, at);
    at += bytes.length;
  }
  return all;
}

/** Writes bytes, until they are taken or `isOver` says that they are not wanted. */
export function* write(stream, bytes, isOver = () => false, others = []) {
  for (let at = 0; at < bytes.length; ) {
    const room = Number(stream.checkWrite());
    if (room === 0) {
      yield* ready(stream, ...others);
      if (isOver()) return;
      continue;
    }
    const count = Math.min(bytes.length - at, room, CHUNK_BYTES_MAX);
    stream.write(bytes.subarray(at, at + count));
    at += count;
  }
}

/** What can be written, as an iterator: a text, bytes, or what is iterated for them. */
export function iterated(data) {
  if (typeof data === 'string' || data instanceof Uint8Array) return [data][Symbol.iterator]();
  const iterate = data?.[Symbol.asyncIterator] ?? data?.[Symbol.iterator];
  if (!iterate) throw new TypeError('what is written is a text, a `Uint8Array`, or iterated for them');
  return iterate.call(data);
}

/** The bytes that an iterator gives next; `undefined` at the end. */
export function* piece(iterator) {
  let next = iterator.next();
  if (typeof next.then === 'function') next = yield next;
  return next.done ? undefined : bytesOf(next.value);
}

/** What the host hands over is an array of another realm of the engine, of which `instanceof` knows nothing. */
export function own(bytes) {
  return bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
}

/** The bytes of a text, or those given. */
export function bytesOf(data) {
  if (typeof data === 'string') return new TextEncoder().encode(data);
  if (data instanceof Uint8Array) return data;
  throw new TypeError(`what is written is a text or a \`Uint8Array\`, and not ${data === null ? 'null' : typeof data}`);
}

/** An error of the host's streams as a failure. */
export function said(error) {
  const { payload } = error ?? {};
  if (payload?.tag === 'last-operation-failed') return new Failure(payload.val.toDebugString());
  return payload?.tag === 'closed' ? new Failure('the other side closed the stream') : error;
}
