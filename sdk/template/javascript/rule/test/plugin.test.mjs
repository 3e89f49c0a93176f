import assert from 'node:assert/strict';
import { test } from 'node:test';

import { run } from '../pipewright/javascript/testing.mjs';
import * as plugin from '../src/plugin.js';

test('passes in time', async () => {
  const at = async (time, settings = {}) => (await run(plugin, { action: '{{type}}', time, settings })).outcome;
  assert.equal(await at(Date.UTC(2023, 10, 14, 12)), 'succeeded');
  assert.equal(await at(Date.UTC(2023, 10, 14, 22)), 'rejected');
  assert.equal(await at(Date.UTC(2023, 10, 14, 22), { To: '23' }), 'succeeded');
});
