/** Makes a component of actions: what the plugin says of itself, and the dispatch to the action that serves a request. */

import { Action } from './action.js';
import { Wait, deployed, report } from './answer.js';
import { Failure } from './failure.js';
import * as log from './log.js';
import * as settings from './settings.js';

/** The categories, each with what makes the ABI's outcome of what an action returns. */
const CATEGORIES = { build: report, deploy: deployed };
const OWNERS = { Custom: 'custom', AWS: 'aws', ThirdParty: 'third-party' };
const CAPABILITIES = ['http', 'read-directory', 'write-directory', 'secret', 'reveal-secret', 'clock', 'randomness'];

/**
 * What the plugin wants the operator to grant, and why.
 *
 * `http` (a host, as `name`, `name:port`, or `*` where the action's settings say which), `read-directory`,
 * `write-directory`, `secret` and `reveal-secret` (each with its name, or the name of the setting that names it); `clock`
 * and `randomness` have no name.
 */
export function ask(capability, { name, reason }) {
  if (!CAPABILITIES.includes(capability)) throw new TypeError(`\`${capability}\` is not a capability`);
  return { capability: name === undefined ? { tag: capability } : { tag: capability, val: name }, reason };
}

/**
 * Makes the exports of a plugin's module: `plugin`, and one for each category that it offers.
 *
 *     export const { plugin, deploy } = definePlugin({ name: 'team/name', version: '1.0.0', deploy: [action] });
 *
 * An action is `{ provider, run, documentation, owner, version, inputs, outputs, settings, variables }`, of which the first
 * two are needed. `inputs` and `outputs` are how many artifacts it takes and makes: a number, or `[least, most]`.
 * `run(action, settings)` returns a report, for a deployment with `targets`, or a `Wait`. With `mayRunAgain: false` an
 * action that a crash of the host interrupted fails instead of running again.
 */
export function definePlugin({ name, version, documentation = '', asks = [], mayRunAgain = true, ...offered }) {
  const unknown = Object.keys(offered).find((category) => !(category in CATEGORIES));
  if (unknown !== undefined) throw new TypeError(`a plugin has no \`${unknown}\``);
  const actionTypes = Object.entries(offered).flatMap(([category, actions]) =>
    actions.map((action) => actionType(category, action)),
  );
  const description = { name, version, documentation, actionTypes, asks, mayRunAgain };
  const served = Object.entries(offered).map(([category, actions]) => [
    category,
    { run: (request) => run(actions, request, CATEGORIES[category]) },
  ]);
  return { plugin: { describe: () => description }, ...Object.fromEntries(served) };
}

function actionType(category, action) {
  const count = (given = 0) => (Array.isArray(given) ? { min: given[0], max: given[1] } : { min: given, max: given });
  return {
    id: { category, ...identity(action) },
    settings: settings.describe(action.settings ?? {}),
    inputs: count(action.inputs),
    outputs: count(action.outputs),
    variables: Object.entries(action.variables ?? {}).map(([name, meaning]) => ({ name, documentation: meaning })),
    documentation: action.documentation ?? '',
  };
}

/** What tells an action from others of its category. */
function identity({ owner = 'Custom', provider, version = '1' }) {
  if (!(owner in OWNERS)) throw new TypeError(`an owner is ${Object.keys(OWNERS).join(', ')}, and not \`${owner}\``);
  return { owner: OWNERS[owner], provider, version };
}

/** Finds the action, and makes of what it returns or throws what the ABI wants. */
function run(actions, request, outcome) {
  try {
    const { owner, provider, version } = request.actionType;
    const found = actions.find((action) => {
      const offered = identity(action);
      return offered.owner === owner && offered.provider === provider && offered.version === version;
    });
    if (!found) {
      throw Failure.configuration(`this plugin does not offer ${provider} version ${version}; bind another plugin to it`);
    }
    const given = new Map(request.settings.map((setting) => [setting.name, setting.value]));
    const answer = found.run(new Action(request), settings.read(found.settings ?? {}, given));
    if (answer instanceof Promise) throw new TypeError('`run` must not be async: files and http are synchronous');
    return answer instanceof Wait ? { tag: 'waiting', val: answer.abi() } : { tag: 'done', val: outcome(answer) };
  } catch (error) {
    throw failed(error);
  }
}

/** An error that the host reads: its `payload` is the ABI's failure. */
function failed(error) {
  const message = error instanceof Failure ? error.message : String(error);
  if (!(error instanceof Failure)) log.error(`${message}\n${error?.stack ?? ''}`);
  return Object.assign(new Error(message), { payload: { kind: error?.kind ?? 'job-failed', message } });
}
