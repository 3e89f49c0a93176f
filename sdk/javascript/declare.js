/** Makes a component of actions: what the plugin says of itself, and the dispatch to the action that serves a request. */

import { Action } from './action.js';
import { CATEGORIES, Wait } from './answer.js';
import { Failure } from './failure.js';
import * as log from './log.js';
import { drive } from './loop.js';
import { rejected } from './promises.js';
import * as settings from './settings.js';
import { described } from './trace.js';

const OWNERS = { Custom: 'custom', AWS: 'aws', ThirdParty: 'third-party' };
const NAMELESS = ['clock', 'randomness', 'commands', 'caches'];
const CAPABILITIES = ['http', 'read-directory', 'write-directory', 'secret', 'reveal-secret', ...NAMELESS];
const KEYS = ['provider', 'run', 'latest', 'documentation', 'owner', 'version', 'inputs', 'outputs', 'settings', 'variables'];
/** As the host wants them. */
const NAME = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?\/[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
const VERSION = /^(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/;
/** What an action of a category must have besides `run`. */
const NEEDED = { source: ['latest'] };

export function ask(capability, { name, reason }) {
  if (!CAPABILITIES.includes(capability)) {
    throw new TypeError(`\`${capability}\` is not a capability; there are ${CAPABILITIES.join(', ')}`);
  }
  if (NAMELESS.includes(capability) !== (name === undefined)) {
    throw new TypeError(`\`${capability}\` ${name === undefined ? 'needs' : 'has no'} \`name\``);
  }
  return { capability: name === undefined ? { tag: capability } : { tag: capability, val: name }, reason };
}

/** The actions of all that `definePlugin` made, each with its category. */
const all = [];

/** The action of this type. */
export function offering({ category, owner, provider, version }) {
  const found = all.find(({ category: own, action }) => {
    const it = identity(action);
    return own === category && it.owner === owner && it.provider === provider && it.version === version;
  });
  return found?.action;
}

/** Only for the types of an editor: the same object. */
export const defineAction = (action) => action;

export function definePlugin({ name, version, documentation = '', asks = [], mayRunAgain = true, ...offered }) {
  const unknown = Object.keys(offered).find((category) => !(category in CATEGORIES));
  if (unknown !== undefined) {
    throw new TypeError(`a plugin has no \`${unknown}\`; its categories are ${Object.keys(CATEGORIES).join(', ')}`);
  }
  if (typeof name !== 'string' || typeof version !== 'string') throw new TypeError('a plugin needs a `name` and a `version`');
  if (!NAME.test(name)) throw new TypeError(`a plugin is named like \`team/name\`: a-z, 0-9 and -, and not \`${name}\``);
  if (!VERSION.test(version)) throw new TypeError(`a version is like \`1.0.0\`, and not \`${version}\``);
  const actionTypes = Object.entries(offered).flatMap(([category, actions]) =>
    actions.map((action) => actionType(category, action)),
  );
  for (const [category, actions] of Object.entries(offered)) all.push(...actions.map((action) => ({ category, action })));
  const description = { name, version, documentation, actionTypes, asks, mayRunAgain };
  const served = Object.entries(offered).map(([category, actions]) => [category, functions(actions, CATEGORIES[category])]);
  return { plugin: { describe: () => description }, ...Object.fromEntries(served) };
}

function actionType(category, action) {
  const what = `the action \`${action.provider ?? ''}\` of \`${category}\``;
  const unknown = Object.keys(action).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) throw new TypeError(`${what} has no \`${unknown}\`; it has ${KEYS.join(', ')}`);
  if (typeof action.provider !== 'string') throw new TypeError(`${what} needs a \`provider\``);
  for (const name of ['run', ...(NEEDED[category] ?? [])]) {
    if (typeof action[name] !== 'function') throw new TypeError(`${what} needs a function \`${name}\``);
  }
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

/** The functions that the ABI calls of a category. */
function functions(actions, outcomes) {
  const made = Object.entries(outcomes).map(([name, outcome]) => {
    const part = name === 'latest' ? 'latest' : 'run';
    return [name, (request, revision) => serve(actions, part, request, revision, outcome)];
  });
  return Object.fromEntries(made);
}

/** Finds the action, and makes of what it returns or throws what the ABI wants. */
async function serve(actions, part, request, revision, outcome) {
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
    const read = settings.read(found.settings ?? {}, given);
    const answer = await drive(() => found[part](new Action(request, revision), read), unheard);
    return answer instanceof Wait ? { tag: 'waiting', val: answer.abi() } : outcome(answer);
  } catch (error) {
    throw failed(error);
  }
}

/** The rejection that nobody has heard of fails the action, and the log says why. */
function unheard() {
  const found = rejected();
  if (found) log.warn('nobody waited for a promise, and it was rejected; `await` it:');
  return found;
}

/** An error that the host reads: its `payload` is the ABI's failure. */
function failed(error) {
  if (error instanceof Failure) {
    if (error.cause !== undefined) log.error(described(error).text);
    return withPayload(error.message, error.kind);
  }
  const { message, text } = described(error);
  log.error(text);
  return withPayload(message, 'job-failed');
}

function withPayload(message, kind) {
  return Object.assign(new Error(message), { payload: { kind, message } });
}
