/** The declarations have what the layer exports, and nothing else: in the plugin's folder, with the host's stand-ins. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import * as layer from './pipewright/javascript/pipewright.js';

const text = readFileSync('pipewright/javascript/pipewright.d.ts', 'utf8');
const names = (text, pattern) => [...new Set([...text.matchAll(pattern)].map(([, name]) => name))].sort();
const declared = names(text, /^export (?:function|class|namespace) (\w+)/gm);
assert.deepEqual(declared, Object.keys(layer).sort());
for (const space of ['caches', 'commands', 'files', 'http', 'log', 'results', 'secrets', 'tools']) {
  const [, body] = new RegExp(`^export namespace ${space} \\{\n(.*?)^\\}`, 'ms').exec(text);
  assert.deepEqual(names(body, /^ {2}function (\w+)/gm), Object.keys(layer[space]).sort(), space);
}
