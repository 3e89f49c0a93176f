import assert from 'node:assert/strict';
import { test } from 'node:test';

import { run } from '../pipewright/javascript/testing.mjs';
import * as plugin from '../src/plugin.ts';

test('takes a file', async () => {
  const given = {
    action: '{{type}}',
    settings: { File: 'notes.txt' },
    directories: { source: { 'notes.txt': 'Remember the milk.' } },
    outputs: ['Out'],
  };
  const taken = await run(plugin, given);
  assert.equal(taken.summary, 'took notes.txt');
  assert.deepEqual(taken.outputs.Out, { 'notes.txt': 'Remember the milk.' });
  assert.deepEqual((await run(plugin, { ...given, call: 'latest' })).revision.id, taken.revision.id);
  const { failure } = await run(plugin, { ...given, revision: 'another' });
  assert.equal(failure.kind, 'RevisionUnavailable');
});
