import assert from 'node:assert/strict';
import { test } from 'node:test';

import { run } from '../pipewright/javascript/testing.mjs';
import * as plugin from '../src/plugin.js';

test('waits for the service', async () => {
  const given = {
    action: '{{type}}',
    settings: { Url: 'https://api.example.com/deployments' },
    inputs: { Site: { 'index.html': '' } },
    secrets: { token: 'not-a-real-token' },
  };
  const request = 'POST https://api.example.com/deployments';
  const headers = { authorization: 'Bearer not-a-real-token', 'idempotency-key': 'case' };
  const begun = await run(plugin, { ...given, http: [{ request, with: { headers }, json: { id: 'd-1', status: 'running' } }] });
  assert.deepEqual(begun.waiting, { until: 1_700_000_010_000 });
  const done = { id: 'd-1', status: 'done', url: 'https://www.example.com/' };
  const http = [{ request: 'GET https://api.example.com/deployments/d-1', json: done }];
  const ended = await run(plugin, { ...given, http, after: begun, wake: 'time' });
  assert.deepEqual(ended.variables, { DeploymentId: 'd-1' });
});
