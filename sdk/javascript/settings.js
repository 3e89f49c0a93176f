/** Typed settings over CodePipeline's string maps: what an action's `settings` declare. */

import { Failure } from './failure.js';

/** What each type of setting is to the host, how it is read (`undefined` for what is none), and what it must be. */
const TYPES = {
  text: { kind: 'text', parse: (text) => text },
  integer: {
    kind: 'number',
    parse: (text) => (/^[+-]?[0-9]{1,15}$/.test(text) ? Number(text) : undefined),
    mustBe: 'a whole number',
  },
  number: {
    kind: 'number',
    parse: (text) => (text.trim() === text && text !== '' && Number.isFinite(Number(text)) ? Number(text) : undefined),
    mustBe: 'a number',
  },
  boolean: {
    kind: 'boolean',
    parse: (text) => ({ true: true, false: false })[text],
    mustBe: '`true` or `false`',
  },
  list: {
    kind: 'list',
    parse(text) {
      try {
        const value = JSON.parse(text);
        return Array.isArray(value) && value.every((one) => typeof one === 'string') ? value : undefined;
      } catch {
        return undefined;
      }
    },
    mustBe: 'a JSON array of strings, like `["a", "b"]`',
  },
};

const KEYS = ['type', 'documentation', 'default', 'optional', 'secret', 'choices', 'name'];

/** What the host is told of an action's settings; a mistake in a declaration shows when the plugin is built. */
export function describe(declared) {
  // All at once, for each costs the author a build.
  const problems = Object.entries(declared).flatMap(([property, setting]) => mistakes(property, setting));
  if (problems.length > 0) {
    throw new TypeError(`${problems.join('; ')}; a setting has ${KEYS.join(', ')}, and its type is ${Object.keys(TYPES).join(', ')}`);
  }
  return Object.entries(declared).map(([property, setting]) => {
    const { type = 'text', documentation = '', default: value, optional = false, secret = false, choices = [] } = setting;
    return {
      name: key(property, setting),
      kind: TYPES[type].kind,
      required: !optional && value === undefined,
      secret,
      default: value === undefined ? undefined : text(value),
      choices,
      documentation,
    };
  });
}

/** What is wrong with the declaration of a setting. */
function mistakes(property, setting) {
  const problems = Object.keys(setting)
    .filter((key) => !KEYS.includes(key))
    .map((key) => `setting \`${property}\`: \`${key}\` is not known`);
  const { type = 'text', default: value } = setting;
  if (!Object.hasOwn(TYPES, type)) return [...problems, `setting \`${property}\`: \`${type}\` is not a type of settings`];
  if (value !== undefined && TYPES[type].parse(text(value)) === undefined) {
    problems.push(`setting \`${property}\`: its default must be ${TYPES[type].mustBe}, and is \`${text(value)}\``);
  }
  return problems;
}

/** The settings of one run. Optional ones that are not given are `undefined`. */
export function read(declared, given) {
  const settings = {};
  const problems = [];
  for (const [property, setting] of Object.entries(declared)) {
    const name = key(property, setting);
    if (given.has(name)) {
      settings[property] = parse(name, setting, given.get(name), problems);
    } else if (setting.default !== undefined) {
      settings[property] = setting.default;
    } else if (!setting.optional) {
      problems.push(`setting \`${name}\` is missing; add it to the action's configuration`);
    }
  }
  // All at once, for each costs its reader an execution.
  if (problems.length > 0) throw Failure.configuration(problems.join('\n'));
  return settings;
}

/** A value in the configuration's own text. */
export function text(value) {
  return Array.isArray(value) ? JSON.stringify(value) : String(value);
}

/** `atLeast` is `AtLeast` in CodePipeline's configuration. */
function key(property, setting) {
  return setting.name ?? property[0].toUpperCase() + property.slice(1);
}

function parse(name, setting, given, problems) {
  const why = mistake(setting, given);
  if (why === undefined) return TYPES[setting.type ?? 'text'].parse(given);
  problems.push(`setting \`${name}\` ${why}; correct it in the action's configuration`);
}

/** What is wrong with a text, to follow the setting's name. */
function mistake({ type = 'text', secret = false, choices = [] }, given) {
  const isChoice = choices.length === 0 || choices.includes(given);
  if (isChoice && TYPES[type].parse(given) !== undefined) return undefined;
  const mustBe = isChoice ? TYPES[type].mustBe : `one of ${choices.map((choice) => `\`${choice}\``).join(', ')}`;
  return `must be ${mustBe}, and is ${secret ? 'another value' : `\`${given}\``}`;
}

/** The same for the setting of this name in the configuration. */
export function wrong(declared, name, given) {
  const [, setting] = Object.entries(declared).find(([property, setting]) => key(property, setting) === name) ?? [];
  return setting && mistake(setting, given);
}
