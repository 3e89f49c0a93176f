/**
 * Files: reading, writing, and what the host does better than a plugin can: digests, copies, archives, executable bits and
 * checked links. Paths are texts like `/inputs/Source/index.html`.
 */

import * as host from 'pipewright:plugin/artifacts@0.1.0';

import { Failure, calling } from './failure.js';
import { flag, limit, list as listOf, text } from './shape.js';
import { DISPOSE, block, bytesOf, chunk, iterated, piece, readAll, said, using, write as writeBytes } from './streams.js';

/**
 * Everything below a folder, in the order of the bytes of the path. Leaves out what lies under one of `except`, paths below
 * the listed one, separated by `/`.
 *
 * @returns {{ path: string, kind: 'file' | 'directory' | 'link', size: number, executable: boolean, target?: string }[]}
 */
export function list(path, except = []) {
  text(path, 'files.list.path');
  listOf(text)(except, 'files.list.except');
  return calling(() => host.list(path, except)).map((entry) => ({ ...entry, size: Number(entry.size) }));
}

/** A whole file of at most `bytesMax` bytes, as a `Uint8Array`. */
export function read(path, { bytesMax = 256 * 1024 * 1024 } = {}) {
  text(path, 'files.read.path');
  limit(bytesMax, 'files.read.bytesMax');
  return using(
    calling(() => host.read(path)),
    (stream) => saying(() => block(readAll(stream, bytesMax, path))),
  );
}

/** The chunks of a file of any size, one after the other, as `Uint8Array`s. */
export function* chunks(path) {
  text(path, 'files.chunks.path');
  const stream = calling(() => host.read(path));
  try {
    for (;;) {
      const bytes = saying(() => block(chunk(stream)));
      if (bytes === undefined) return;
      yield bytes;
    }
  } finally {
    stream[DISPOSE]();
  }
}

/** A whole file, which must be UTF-8. */
export function readText(path, options) {
  const bytes = read(path, options);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Failure(`${path} is not UTF-8`);
  }
}

/** Makes or replaces a file, and the folders above it, from a text, a `Uint8Array` or what is iterated for them. */
export function write(path, data, { executable = false } = {}) {
  text(path, 'files.write.path');
  flag(executable, 'files.write.executable');
  const iterator = iterated(data);
  const writer = create(path, { executable });
  try {
    for (;;) {
      const bytes = block(piece(iterator));
      if (bytes === undefined) break;
      writer.write(bytes);
    }
  } finally {
    iterator.return?.();
    writer.close();
  }
}

/** Makes or replaces a file that is written piece by piece; `close` it at the end. */
export function create(path, { executable = false } = {}) {
  text(path, 'files.create.path');
  flag(executable, 'files.create.executable');
  const stream = calling(() => host.write(path, executable));
  return {
    write: (data) => saying(() => block(writeBytes(stream, bytesOf(data)))),
    close: () => using(stream, () => saying(() => stream.blockingFlush())),
  };
}

function saying(call) {
  try {
    return call();
  } catch (error) {
    throw said(error);
  }
}

/** The SHA-256 of a file, in lower-case hexadecimal. */
export function digest(path) {
  text(path, 'files.digest.path');
  return calling(() => host.digest(path));
}

/** Copies a file or a whole folder, with executable bits and links; `except` as in `list`. */
export function copy(source, destination, except = []) {
  text(source, 'files.copy.source');
  text(destination, 'files.copy.destination');
  listOf(text)(except, 'files.copy.except');
  return counted(() => host.copy(source, destination, except));
}

export function setExecutable(path, executable = true) {
  text(path, 'files.setExecutable.path');
  flag(executable, 'files.setExecutable.executable');
  calling(() => host.setExecutable(path, executable));
}

/**
 * Makes a symbolic link, or replaces one atomically. The target is relative, and stays inside of the artifact or granted
 * folder in which the link lies.
 */
export function link(path, target) {
  text(path, 'files.link.path');
  text(target, 'files.link.target');
  calling(() => host.link(path, target));
}

/** Makes durable what was written below a path: after it, a power cut loses nothing of it. */
export function sync(path) {
  text(path, 'files.sync.path');
  calling(() => host.sync(path));
}

/** Packs a folder into a zip file, reproducibly. */
export function zip(source, destination) {
  text(source, 'files.zip.source');
  text(destination, 'files.zip.destination');
  return counted(() => host.zip(source, destination));
}

/** Unpacks a zip file into a folder; refuses entries that would lie outside of it. */
export function unzip(source, destination) {
  text(source, 'files.unzip.source');
  text(destination, 'files.unzip.destination');
  return counted(() => host.unzip(source, destination));
}

/** @returns {{ files: number, bytes: number }} */
function counted(call) {
  const { files, bytes } = calling(call);
  return { files: Number(files), bytes: Number(bytes) };
}
