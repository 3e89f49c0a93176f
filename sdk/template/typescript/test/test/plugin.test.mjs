import assert from 'node:assert/strict';
import { test } from 'node:test';

import { run } from '../pipewright/javascript/testing.mjs';
import * as plugin from '../src/plugin.ts';

test('finds the word', async () => {
  const inputs = { Source: { 'index.md': '# Home\nMore later.\n' } };
  const { outcome, cases } = await run(plugin, { action: '{{type}}', settings: { Word: 'later' }, inputs });
  assert.equal(outcome, 'failed');
  assert.deepEqual(cases.map(({ name, status, line }) => [name, status, line]), [['index.md', 'failed', 2]]);
});
