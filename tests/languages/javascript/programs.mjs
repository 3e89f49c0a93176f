/** An action that has a program run, with the host's stand-ins: in a plugin's folder. */

import assert from 'node:assert/strict';

import { ask, commands, defineAction, definePlugin, Failure, files } from './pipewright/javascript/pipewright.js';
import { run } from './pipewright/javascript/testing.mjs';

const make = defineAction({
  provider: 'Make',
  inputs: 1,
  outputs: 1,
  run(action) {
    const ended = commands.ended();
    if (ended === undefined) {
      files.copy(action.input, `${action.scratch}/src`);
      const given = { secrets: commands.declaredSecrets(), secretFiles: { KEY_FILE: 'key' } };
      return commands.start(['make', 'all'], { directory: 'src', ...given, continuation: 7 });
    }
    if (!ended.succeeded) throw new Failure(`make ended with status ${ended.status} (${ended.limit})`);
    files.copy(`${action.scratch}/src/build`, action.output);
    return { summary: `${action.resumed.continuation} ${ended.wallMicros}` };
  },
});
const asks = [ask('commands', { reason: 'to run make' })];
const plugin = definePlugin({ name: 'acme/make', version: '0.1.0', asks, build: [make] });

const given = { action: 'Build/Custom/Make/1', inputs: { Source: { Makefile: 'all:' } }, outputs: ['Built'] };
const secrets = { key: 'a key', db: 'a password' };
const waiting = await run(plugin, { ...given, secrets, 'secret-environment': { DB: 'db' } });
assert.equal(waiting.outcome, 'waiting');
const { arguments: words, directory, secrets: inVariables, secretFiles } = waiting.job;
assert.deepEqual([words, directory, inVariables, secretFiles], [['make', 'all'], 'src', { DB: 'db' }, { KEY_FILE: 'key' }]);

const scratch = { 'src/Makefile': 'all:', 'src/build/app': 'made' };
const made = await run(plugin, { ...given, after: waiting, ended: { status: 0, scratch } });
assert.deepEqual([made.outcome, made.summary, made.outputs.Built, made.job], ['succeeded', '7 0', { app: 'made' }, undefined]);
const late = await run(plugin, { ...given, after: waiting, ended: { status: 137, limit: 'wall-seconds' } });
assert.equal(late.failure.message, 'make ended with status 137 (wall-seconds)');
const denied = await run(plugin, given);
assert.equal(denied.failure.kind, 'PermissionError');
