/** What tests and coverage tools found: it is kept with the execution, beside the log, and shown by `pipewright tests`. */

import * as host from 'pipewright:plugin/results@0.1.0';

import { calling } from './failure.js';

const NANOSECONDS = 1_000_000_000;
const STATUSES = ['succeeded', 'failed', 'error', 'skipped', 'unknown'];

/** Reports tests; a later report of the same name takes its place. */
export function tests(name, cases) {
  const all = [...cases].map(one);
  const counts = Object.fromEntries(STATUSES.map((status) => [status, BigInt(all.filter((it) => it.status === status).length)]));
  calling(() => host.report(name, { tag: 'tests', val: { counts, cases: all } }));
}

/** Reports coverage; a later report of the same name takes its place. */
export function coverage(name, files) {
  const all = [...files].map(({ path, lines, branches = [0, 0] }) => ({ path, lines: ratio(lines), branches: ratio(branches) }));
  const sum = (key) => all.reduce((sum, file) => ({ covered: sum.covered + file[key].covered, total: sum.total + file[key].total }), ratio([0, 0]));
  calling(() => host.report(name, { tag: 'coverage', val: { lines: sum('lines'), branches: sum('branches'), files: all } }));
}

function ratio([covered, total]) {
  return { covered: BigInt(covered), total: BigInt(total) };
}

function one({ name, status, message = '', seconds, suite = '', prefix = '', file, line }) {
  if (!STATUSES.includes(status)) throw new TypeError(`a case's status is one of ${STATUSES.join(', ')}, and not ${status}`);
  const durationNanos = seconds === undefined ? undefined : BigInt(Math.max(0, Math.round(seconds * NANOSECONDS)));
  return { suite, prefix, name, status, durationNanos, message, file, line };
}
