/**
 * Whether what an author gives, in an answer or to a function of the layer, has the types of pipewright.d.ts. The engine can hand over
 * nothing else, and would end the component with no word of the property, or take something else for it.
 *
 * A check is a function of a value and of where it is; it throws a `TypeError` that says what must be there, and what is.
 */

/** As the host has lines and seconds. */
const POSITIVE_MAX = 2 ** 32 - 1;
/** 31 years, in nanoseconds well within 64 bits. */
const SECONDS_MAX = 1_000_000_000;

/** The top has no name of its own. */
const named = (where) => (where === '' ? 'what the action returned' : `\`${where}\``);

function wrong(where, mustBe, value) {
  return new TypeError(`${named(where)} must be ${mustBe}, and is ${shown(value)}`);
}

function shown(value) {
  if (value === null || value === undefined || typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 100));
  if (typeof value !== 'object') return `a ${typeof value}`;
  return `an object (${Object.getPrototypeOf(value)?.constructor?.name ?? 'without a class'})`;
}

function check(mustBe, holds) {
  return (value, where) => {
    if (!holds(value)) throw wrong(where, mustBe, value);
  };
}

const isSeconds = (value) => typeof value === 'number' && Math.abs(value) <= SECONDS_MAX;
const isVariable = (value) =>
  ['string', 'boolean', 'bigint'].includes(typeof value) || Number.isFinite(value) || (Array.isArray(value) && value.every((one) => typeof one === 'string'));

export const text = check('a text', (value) => typeof value === 'string');
export const flag = check('`true` or `false`', (value) => typeof value === 'boolean');
export const whole = check('a whole number, at least 0', (value) => Number.isSafeInteger(value) && value >= 0);
export const positive = check(`a whole number from 1 to ${POSITIVE_MAX}`, (value) => Number.isInteger(value) && value >= 1 && value <= POSITIVE_MAX);
export const seconds = check(`a number of at most ${SECONDS_MAX}`, isSeconds);
/** Nothing waits for what was. */
export const pause = check(`a number from 0 to ${SECONDS_MAX}`, (value) => isSeconds(value) && value >= 0);
export const number = check('a number', Number.isFinite);
/** Bytes; there may be no limit. */
export const limit = check('a number, at least 0', (value) => typeof value === 'number' && value >= 0);
/** Milliseconds, or a `Date`. */
export const time = check('milliseconds since 1970', (value) =>
  (typeof value === 'number' || value instanceof Date) && Number(value) >= 0 && Number.isSafeInteger(Math.round(Number(value))),
);
export const oneOf = (...choices) => check(`one of ${choices.join(', ')}`, (value) => choices.includes(value));
export const address = check('a text or a `URL`', (value) => typeof value === 'string' || value instanceof URL);
export const textOrNumber = check('a text or a number', (value) => ['string', 'number'].includes(typeof value));
const variable = check('a text, a number, `true`, `false`, or a list of texts', isVariable);

/** What may be left out. */
export function maybe(one) {
  return (value, where) => {
    if (value !== undefined && value !== null) one(value, where);
  };
}

export function list(one) {
  return (value, where) => {
    if (!Array.isArray(value)) throw wrong(where, 'a list', value);
    value.forEach((item, index) => one(item, `${where}[${index}]`));
  };
}

/** A pair of what is covered, and of all there is. */
export function ratio(value, where) {
  list(whole)(value, where);
  if (value.length !== 2 || value[0] > value[1]) throw new TypeError(`\`${where}\` must be what is covered and all there is, and is ${value.join(' of ')}`);
}

/** Values by their names. A `Map` or `Headers` has none that way, and would be taken for empty. */
export function byName(one) {
  return (value, where) => {
    const isPlain = value !== null && typeof value === 'object' && [Object.prototype, null].includes(Object.getPrototypeOf(value));
    if (!isPlain) throw wrong(where, 'an object of values by their names', value);
    for (const [name, item] of Object.entries(value)) one(item, `${where}.${name}`);
  };
}

/** The same as the ABI has them. */
export function pairs(values) {
  return Object.entries(values ?? {}).map(([name, value]) => ({ name, value }));
}

export const variables = byName(maybe(variable));

/** An object with these properties and no others: a mistyped one would be lost without a word. */
export function record(fields) {
  return (value, where) => {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) throw wrong(where, 'an object', value);
    const unknown = Object.keys(value).find((name) => !Object.hasOwn(fields, name));
    if (unknown !== undefined) throw new TypeError(`${named(where)} has no \`${unknown}\`; it has ${Object.keys(fields).join(', ')}`);
    for (const [name, one] of Object.entries(fields)) one(value[name], where === '' ? name : `${where}.${name}`);
  };
}

/** A `line` says nothing without the file. */
export function placed(fields) {
  const all = record(fields);
  return (value, where) => {
    all(value, where);
    if (value.line !== undefined && value.line !== null) text(value.file, `${where}.file`);
  };
}
