import assert from 'node:assert/strict';
import { test } from 'node:test';

import { run } from '../pipewright/javascript/testing.mjs';
import * as plugin from '../src/plugin.ts';

test('lists files', async () => {
  const inputs = { Source: { 'a.txt': 'one', 'b.md': 'two' } };
  const given = { action: '{{type}}', settings: { Ending: '.txt' }, inputs, outputs: ['Index'] };
  const { outcome, variables, log, outputs } = await run(plugin, given);
  assert.equal(outcome, 'succeeded');
  assert.deepEqual(variables, { Files: '1' });
  assert.match(log, /listed 1 files/);
  assert.equal(JSON.parse(outputs.Index['files.json'])[0].path, 'a.txt');
});
