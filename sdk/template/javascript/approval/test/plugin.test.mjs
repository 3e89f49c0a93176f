import assert from 'node:assert/strict';
import { test } from 'node:test';

import { run } from '../pipewright/javascript/testing.mjs';
import * as plugin from '../src/plugin.js';

test('wants a reason', async () => {
  const given = { action: '{{type}}' };
  const after = await run(plugin, given);
  assert.deepEqual(after.waiting, { signal: 'approval' });
  const payload = JSON.stringify({ status: 'Approved', by: 'maria' });
  const { outcome, summary } = await run(plugin, { ...given, after, signal: { kind: 'approval', payload } });
  assert.equal(outcome, 'rejected');
  assert.equal(summary, 'maria does not say why');
});
