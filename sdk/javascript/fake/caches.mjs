/** The stand-in of `pipewright:plugin/caches`: what a test says is kept, and what is to be kept. The digests are none. */

import * as fs from 'node:fs';
import { dirname, join } from 'node:path';

import { call, refused } from './state.mjs';

export const isGranted = () => call('`caches`').caches !== undefined;

function granted() {
  const running = call('`caches`');
  if (!running.caches) throw refused('denied', 'no grant allows caches; give the test `caches: {}`');
  return running;
}

export function restore(key, fallbackKeys, directory) {
  const { folder, caches } = granted();
  // Of several the one that the test gives last was used last.
  const of = (prefix) => Object.keys(caches).findLast((it) => it.startsWith(prefix));
  const found = Object.hasOwn(caches, key) ? key : fallbackKeys.map(of).find((it) => it !== undefined);
  if (found === undefined) return undefined;
  for (const [path, content] of Object.entries(caches[found])) {
    const file = join(folder, 'scratch', directory, path);
    fs.mkdirSync(dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
  }
  return { key: found, digest: `of ${found}` };
}

export function save(key, directory) {
  const { folder, savedCaches } = granted();
  const isThere = directory !== '' && fs.statSync(join(folder, 'scratch', directory), { throwIfNoEntry: false })?.isDirectory();
  if (!isThere) throw refused('invalid', `there is no directory ${JSON.stringify(directory)} below /scratch`);
  savedCaches[key] = directory;
}
