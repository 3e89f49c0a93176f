/** Command-line tools that are WebAssembly components, run inside of the sandbox. */

import * as host from 'pipewright:plugin/tools@0.1.0';

import { calling, Failure } from './failure.js';
import { byName, flag, list, maybe, pairs, record, text } from './shape.js';

const OPTIONS = record({ digest: maybe(text), environment: maybe(byName(text)), network: maybe(flag) });

/** Runs a tool to its end, and gives the status that it ended with. What it writes goes into the action's log. */
export function run(component, words = [], options = {}) {
  text(component, 'tools.run.component');
  list(text)(words, 'tools.run.words');
  OPTIONS(options, 'tools.run.options');
  const { digest, environment, network } = options;
  const tool = { component, digest: digest ?? undefined, arguments: words, environment: pairs(environment), network: network ?? false };
  return calling(() => host.run(tool), Failure.configuration);
}
