/** What tests and coverage tools found: it is kept with the execution, beside the log, and shown by `pipewright tests`. */

import * as host from 'pipewright:plugin/results@0.1.0';

import { calling } from './failure.js';
import { maybe, oneOf, placed, positive, ratio, record, seconds, text } from './shape.js';

const NANOSECONDS = 1_000_000_000;
const STATUSES = ['succeeded', 'failed', 'error', 'skipped', 'unknown'];
const CASE = placed({
  name: text,
  status: oneOf(...STATUSES),
  message: maybe(text),
  seconds: maybe(seconds),
  suite: maybe(text),
  prefix: maybe(text),
  file: maybe(text),
  line: maybe(positive),
});
const FILE = record({ path: text, lines: ratio, branches: maybe(ratio) });

/** Reports tests; a later report of the same name takes its place. */
export function tests(name, cases) {
  text(name, 'results.tests.name');
  const all = each(cases, CASE, 'results.tests.cases').map(one);
  const counts = Object.fromEntries(STATUSES.map((status) => [status, BigInt(all.filter((it) => it.status === status).length)]));
  calling(() => host.report(name, { tag: 'tests', val: { counts, cases: all } }));
}

/** Reports coverage; a later report of the same name takes its place. */
export function coverage(name, files) {
  text(name, 'results.coverage.name');
  const all = each(files, FILE, 'results.coverage.files').map(({ path, lines, branches }) => ({ path, lines: pair(lines), branches: pair(branches ?? [0, 0]) }));
  const sum = (key) => all.reduce((sum, file) => ({ covered: sum.covered + file[key].covered, total: sum.total + file[key].total }), pair([0, 0]));
  calling(() => host.report(name, { tag: 'coverage', val: { lines: sum('lines'), branches: sum('branches'), files: all } }));
}

/** What is iterated, each of it checked. */
function each(given, check, what) {
  if (typeof given?.[Symbol.iterator] !== 'function') throw new TypeError(`\`${what}\` must be a list`);
  const all = [...given];
  all.forEach((one, index) => check(one, `${what}[${index}]`));
  return all;
}

function pair([covered, total]) {
  return { covered: BigInt(covered), total: BigInt(total) };
}

function one({ name, status, message, seconds, suite, prefix, file, line }) {
  const durationNanos = seconds === undefined || seconds === null ? undefined : BigInt(Math.max(0, Math.round(seconds * NANOSECONDS)));
  return { suite: suite ?? '', prefix: prefix ?? '', name, status, durationNanos, message: message ?? '', file, line };
}
