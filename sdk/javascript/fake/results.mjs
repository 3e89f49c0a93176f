/** The stand-in of `pipewright:plugin/results`. */

import { call, refused } from './state.mjs';

export function report(name, content) {
  const { results } = call('`results`');
  if (name.trim() === '') throw refused('invalid', 'the report has no name: give it one, such as `unit`');
  results[name] = content.val;
}
