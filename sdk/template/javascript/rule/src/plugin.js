/**
 * Passes at certain hours of the day.
 *
 * It runs where a pipeline of type V2 has it among the `rules` of a stage's `beforeEntry`, `onSuccess` or `onFailure`:
 *
 *   { "name": "Hours", "ruleTypeId": { "category": "Rule", "owner": "Custom", "provider": "{{provider}}", "version": "1" } }
 */

import { defineAction, definePlugin } from '../pipewright/javascript/pipewright.js';

const hours = defineAction({
  provider: '{{provider}}',
  documentation: 'Passes at certain hours of the day.',
  settings: {
    from: { type: 'integer', default: 8, documentation: 'The first hour of the day (UTC) in which the rule passes.' },
    to: { type: 'integer', default: 17, documentation: 'The first hour after it in which it passes no more.' },
  },

  run(action, { from, to }) {
    // Without the grant of a clock, time stands still at the start of the call, which is all that is wanted here.
    const hour = new Date().getUTCHours();
    if (from <= hour && hour < to) return { passed: true };
    return { passed: false, reason: `it is ${hour} o'clock UTC; from ${from} to ${to} is the time` };
  },
});

export const { plugin, rule } = definePlugin({
  name: '{{plugin}}',
  version: '0.1.0',
  documentation: '{{description}}',
  rule: [hours],
});
