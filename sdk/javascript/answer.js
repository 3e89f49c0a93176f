/** What an action's function returns: an outcome for its category, or a wait. pipewright.d.ts has the whole documentation. */

import { Failure } from './failure.js';
import { text } from './settings.js';
import { bytesOf } from './streams.js';

/** The host refuses larger continuations. */
const CONTINUATION_BYTES_MAX = 16 * 1024;

/** Asks to be called again. */
export class Wait {
  constructor({ seconds, until, signal, continuation = null, summary, isForProgram = false }) {
    if (seconds === undefined && until === undefined && signal === undefined && !isForProgram) {
      throw new TypeError('a `Wait` needs `seconds`, `until` or `signal`, or nothing would end it');
    }
    this.until = seconds === undefined ? until : Date.now() + seconds * 1000;
    this.signal = signal;
    this.continuation = continuation;
    this.summary = summary;
  }

  abi() {
    const continuation = bytesOf(JSON.stringify(this.continuation));
    if (continuation.length > CONTINUATION_BYTES_MAX) {
      throw new Failure(`the continuation is larger than ${CONTINUATION_BYTES_MAX} bytes`);
    }
    const until = this.until === undefined ? undefined : BigInt(Math.round(this.until));
    return { until, signal: this.signal, continuation, summary: this.summary };
  }
}

/** For each category: the function that the ABI calls, and what it makes of what the author's function returns. */
export const CATEGORIES = {
  source: { fetch: done(fetched), latest: (found) => ({ tag: 'found', val: found ? revision(found) : undefined }) },
  build: { run: done(report) },
  test: { run: done(tested) },
  deploy: { run: done(deployed) },
  approval: { run: decided(decision) },
  invoke: { run: done(report) },
  rule: { run: decided(verdict) },
};

function done(outcome) {
  return (answer) => ({ tag: 'done', val: outcome(fields(answer)) });
}

function decided(outcome) {
  return (answer) => ({ tag: 'decided', val: outcome(fields(answer)) });
}

function fields(answer = {}) {
  if (answer === null || typeof answer !== 'object') {
    throw new TypeError(`\`run\` returns an object or a \`Wait\`, and not ${answer === null ? 'null' : typeof answer}`);
  }
  return answer;
}

/** A mistyped key would be lost without a word. */
function only(rest, what) {
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw new TypeError(`${what} has no \`${unknown}\``);
}

function report({ summary, variables = {}, links = [], externalId, ...rest }) {
  only(rest, 'what this action returns');
  const given = Object.entries(variables).filter(([, value]) => value !== undefined && value !== null);
  return { summary, externalId, variables: given.map(([name, value]) => ({ name, value: text(value) })), links };
}

function fetched({ revision: found, ...rest }) {
  return { revision: found ? revision(found) : undefined, report: report(rest) };
}

function revision({ id, summary, url, created, ...rest }) {
  only(rest, 'a revision');
  if (typeof id !== 'string') throw new TypeError("a revision's `id` is a text");
  return { id, summary, url, created: created === undefined ? undefined : BigInt(Math.round(Number(created))) };
}

function tested({ cases = [], ...rest }) {
  return { report: report(rest), cases: cases.map(testCase) };
}

function testCase({ name, status, message, file, line, ...rest }) {
  only(rest, 'a test case');
  oneOf(status, ['passed', 'failed', 'skipped'], 'the `status` of a test case');
  return { name, status, message, place: file === undefined ? undefined : { file, line } };
}

function deployed({ targets = [], ...rest }) {
  return { report: report(rest), targets: targets.map(target) };
}

function target({ id, kind, status = 'succeeded', url, ...rest }) {
  only(rest, 'a target');
  oneOf(status, ['succeeded', 'failed', 'skipped'], 'the `status` of a target');
  return { id, kind, status, url };
}

function decision({ approved, summary, ...rest }) {
  only(rest, 'a decision');
  return { approved: flag(approved, 'approved'), summary };
}

function verdict({ passed, reason, ...rest }) {
  only(rest, 'a verdict');
  return { passed: flag(passed, 'passed'), reason };
}

function flag(value, name) {
  if (typeof value !== 'boolean') throw new TypeError(`\`${name}\` is \`true\` or \`false\`, and not ${String(value)}`);
  return value;
}

function oneOf(value, choices, what) {
  if (!choices.includes(value)) throw new TypeError(`${what} is one of ${choices.join(', ')}, and not ${String(value)}`);
}
