/** The stand-in of `pipewright:plugin/tools`. No tool runs: a test says with which status each ends. */

import assert from 'node:assert/strict';

import { call } from './state.mjs';

export function run(tool) {
  const running = call('`tools`');
  running.tools.push({ ...tool, environment: Object.fromEntries(tool.environment.map(({ name, value }) => [name, value])) });
  try {
    assert(running.toolEnds.length > 0, 'the action ran a tool, for which the test has no end; give the test `tools: [0]`');
  } catch (error) {
    // The plugin may take it for a failure of its own; the test says it.
    running.unmet ??= error;
    throw error;
  }
  return running.toolEnds.shift();
}
