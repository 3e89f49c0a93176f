/** The stand-in of `pipewright:plugin/artifacts`: the files of a temporary folder. */

import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';

import { call, refused } from './state.mjs';
import { InputStream, OutputStream } from './streams.mjs';

/** Where a path of a plugin is in the temporary folder. */
function at(path, writes = false) {
  const { folder, directories } = call('`files`');
  const place = resolve('/', path);
  const [, root, name] = place.split('/');
  if (root === 'directories' && !directories.has(name)) {
    throw refused('denied', `no grant allows the directory \`${name}\`; give it to the test as \`directories: { ${name}: {} }\``);
  }
  if (!['inputs', 'outputs', 'directories', 'scratch'].includes(root)) throw refused('not-found', `${path}: there is no such file`);
  if (writes && root === 'inputs') throw refused('denied', `${path}: an input artifact cannot be written`);
  return join(folder, place);
}

/** Node.js' errors in the host's words. */
function saying(path, deed) {
  try {
    return deed();
  } catch (error) {
    if (error.payload) throw error;
    if (error.code === 'ENOENT') throw refused('not-found', `${path}: there is no such file`);
    throw refused(error.code ? 'io' : 'invalid', `${path}: ${error.message}`);
  }
}

function prepared(path) {
  const file = at(path, true);
  saying(path, () => fs.mkdirSync(dirname(file), { recursive: true }));
  return file;
}

const isExecutable = (stats) => stats.isFile() && (stats.mode & 0o100) !== 0;

export function list(path, except) {
  const top = at(path);
  const entries = [];
  const walk = (folder) => {
    for (const found of fs.readdirSync(folder, { withFileTypes: true })) {
      const file = join(folder, found.name);
      const below = relative(top, file).split(sep).join('/');
      if (except.includes(below)) continue;
      const stats = fs.lstatSync(file);
      const kind = stats.isDirectory() ? 'directory' : stats.isSymbolicLink() ? 'link' : 'file';
      const size = BigInt(kind === 'file' ? stats.size : 0);
      entries.push({ path: below, kind, size, executable: isExecutable(stats), target: kind === 'link' ? fs.readlinkSync(file) : undefined });
      if (kind === 'directory') walk(file);
    }
  };
  saying(path, () => walk(top));
  return entries.sort((one, other) => Buffer.compare(Buffer.from(one.path), Buffer.from(other.path)));
}

export function digest(path) {
  return saying(path, () => createHash('sha256').update(fs.readFileSync(at(path))).digest('hex'));
}

export function read(path) {
  return saying(path, () => new InputStream([fs.readFileSync(at(path))]));
}

export function write(path, executable) {
  const file = prepared(path);
  saying(path, () => fs.writeFileSync(file, '', { mode: executable ? 0o755 : 0o644 }));
  return new OutputStream((bytes) => fs.appendFileSync(file, bytes));
}

export function setExecutable(path, executable) {
  saying(path, () => fs.chmodSync(at(path, true), executable ? 0o755 : 0o644));
}

export function link(path, target) {
  if (target.startsWith('/')) throw refused('invalid', `${path}: the target of a link is relative`);
  const file = prepared(path);
  saying(path, () => {
    fs.rmSync(file, { force: true });
    fs.symlinkSync(target, file);
  });
}

export function copy(source, destination, except) {
  const from = at(source);
  const entries = saying(source, () => (fs.statSync(from).isFile() ? [{ path: '', kind: 'file' }] : list(source, except)));
  const copied = { files: 0n, bytes: 0n };
  for (const { path, kind, target } of entries) {
    const to = path === '' ? destination : `${destination}/${path}`;
    if (kind === 'directory') fs.mkdirSync(prepared(to), { recursive: true });
    if (kind === 'link') link(to, target);
    if (kind !== 'file') continue;
    const file = prepared(to);
    saying(to, () => fs.copyFileSync(join(from, path), file));
    copied.files += 1n;
    copied.bytes += BigInt(fs.statSync(file).size);
  }
  return copied;
}

export function sync(path) {
  at(path, true);
}

export function zip() {
  throw refused('invalid', '`files.zip` and `files.unzip` are the host\'s own work: test what uses them by cases/');
}

export const unzip = zip;
