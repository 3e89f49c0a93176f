import assert from 'node:assert/strict';
import { test } from 'node:test';

import { run } from '../pipewright/javascript/testing.mjs';
import * as plugin from '../src/plugin.ts';

test('counts files', async () => {
  const inputs = { Source: { 'a.txt': 'a', 'b/c.txt': 'c' } };
  const { variables } = await run(plugin, { action: '{{type}}', inputs });
  assert.deepEqual(variables, { Files: '2' });
  const { failure } = await run(plugin, { action: '{{type}}', inputs, settings: { Most: '1' } });
  assert.match(failure.message, /`Most`/);
});
