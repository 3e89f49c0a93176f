/** The host's byte streams, read and written whole. */

import { Failure } from './failure.js';

/** As much as the host hands over at once; smaller pieces cost a call each. */
const CHUNK_BYTES_MAX = 64 * 1024;

const DISPOSE = Symbol.dispose ?? Symbol.for('dispose');

/** Uses a resource of the host, and gives it back. */
export function using(resource, use) {
  try {
    return use(resource);
  } finally {
    resource[DISPOSE]();
  }
}

/** All of a stream, of at most `bytesMax` bytes. */
export function readAll(stream, bytesMax, what) {
  const chunks = [];
  let length = 0;
  for (;;) {
    let chunk;
    try {
      chunk = stream.blockingRead(BigInt(CHUNK_BYTES_MAX));
    } catch (error) {
      if (error?.payload?.tag === 'closed') break;
      throw said(error);
    }
    length += chunk.length;
    if (length > bytesMax) throw new Failure(`${what} is larger than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

export function writeAll(stream, bytes) {
  try {
    for (let at = 0; at < bytes.length; ) {
      const room = Number(stream.checkWrite());
      if (room === 0) {
        using(stream.subscribe(), (writable) => writable.block());
        continue;
      }
      const count = Math.min(bytes.length - at, room, CHUNK_BYTES_MAX);
      stream.write(bytes.subarray(at, at + count));
      at += count;
    }
    stream.blockingFlush();
  } catch (error) {
    throw said(error);
  }
}

/** The bytes of a text, or those given. */
export function bytesOf(data) {
  return typeof data === 'string' ? new TextEncoder().encode(data) : data;
}

function said(error) {
  const { payload } = error ?? {};
  if (payload?.tag === 'last-operation-failed') return new Failure(payload.val.toDebugString());
  return payload?.tag === 'closed' ? new Failure('the other side closed the stream') : error;
}
