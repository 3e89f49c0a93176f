/** What an action's function returns: an outcome for its category, or a wait. pipewright.d.ts has the whole documentation. */

import { Failure } from './failure.js';
import { text as textOf } from './settings.js';
import { flag, list, maybe, oneOf, pause, placed, positive, record, text, time, variables } from './shape.js';
import { bytesOf } from './streams.js';

/** The host refuses larger continuations. */
const CONTINUATION_BYTES_MAX = 16 * 1024;

const WAIT = record({ seconds: maybe(pause), until: maybe(time), signal: maybe(text), continuation() {}, summary: maybe(text) });
const TOLD = {
  summary: maybe(text),
  variables: maybe(variables),
  links: maybe(list(record({ title: text, url: text }))),
  externalId: maybe(text),
};
const REVISION = record({ id: text, summary: maybe(text), url: maybe(text), created: maybe(time) });
const CASE = placed({
  name: text,
  status: oneOf('passed', 'failed', 'skipped'),
  message: maybe(text),
  file: maybe(text),
  line: maybe(positive),
});
const TARGET = record({ id: text, kind: text, status: maybe(oneOf('succeeded', 'failed', 'skipped')), url: maybe(text) });

/** Asks to be called again. */
export class Wait {
  #continuation;

  constructor({ isForProgram = false, ...wait } = {}) {
    WAIT(wait, 'Wait');
    const { seconds, until, signal, continuation = null, summary } = wait;
    if ((seconds ?? until ?? signal ?? undefined) === undefined && !isForProgram) {
      throw new TypeError('a `Wait` needs `seconds`, `until` or `signal`, or nothing would end it');
    }
    this.until = isGiven(seconds) ? Date.now() + seconds * 1000 : until;
    this.signal = signal;
    this.summary = summary;
    this.#continuation = bytesOf(jsonOf(continuation));
    if (this.#continuation.length > CONTINUATION_BYTES_MAX) {
      throw new Failure(`the continuation is larger than ${CONTINUATION_BYTES_MAX} bytes`);
    }
  }

  abi() {
    return { until: whole(this.until), signal: this.signal, continuation: this.#continuation, summary: this.summary };
  }
}

const isGiven = (value) => value !== undefined && value !== null;
/** As the ABI has milliseconds. */
const whole = (time) => (isGiven(time) ? BigInt(Math.round(Number(time))) : undefined);

function jsonOf(continuation) {
  let json;
  let why = `a ${typeof continuation} is none`;
  try {
    json = JSON.stringify(continuation);
  } catch (error) {
    why = error.message;
  }
  if (json === undefined) throw new TypeError(`\`Wait.continuation\` must be what JSON can hold: ${why}`);
  return json;
}

/** For each category: the function that the ABI calls, and what it makes of what the author's function returns. */
export const CATEGORIES = {
  source: { fetch: done({ ...TOLD, revision: maybe(REVISION) }, fetched), latest: found },
  build: { run: done(TOLD, report) },
  test: { run: done({ ...TOLD, cases: list(CASE) }, tested) },
  deploy: { run: done({ ...TOLD, targets: maybe(list(TARGET)) }, deployed) },
  approval: { run: decided({ approved: flag, summary: maybe(text) }) },
  invoke: { run: done(TOLD, report) },
  rule: { run: decided({ passed: flag, reason: maybe(text) }) },
};

function done(fields, outcome) {
  return (answer) => ({ tag: 'done', val: outcome(returned(fields, answer)) });
}

function decided(fields) {
  return (answer) => ({ tag: 'decided', val: returned(fields, answer) });
}

/** What the author's function returned, if it has the properties of its category. */
function returned(fields, answer) {
  if (answer === undefined) throw new TypeError('`run` returned nothing; it must return an object, or a `Wait`');
  record(fields)(answer, '');
  return answer;
}

function found(answer) {
  maybe(REVISION)(answer, '');
  return { tag: 'found', val: answer ? revision(answer) : undefined };
}

function report({ summary, variables, links, externalId }) {
  const given = Object.entries(variables ?? {}).filter(([, value]) => isGiven(value));
  return { summary, externalId, variables: given.map(([name, value]) => ({ name, value: textOf(value) })), links: links ?? [] };
}

function fetched(answer) {
  return { revision: answer.revision ? revision(answer.revision) : undefined, report: report(answer) };
}

function revision({ id, summary, url, created }) {
  return { id, summary, url, created: whole(created) };
}

function tested(answer) {
  return { report: report(answer), cases: answer.cases.map(testCase) };
}

function testCase({ name, status, message, file, line }) {
  return { name, status, message, place: isGiven(file) ? { file, line } : undefined };
}

function deployed(answer) {
  return { report: report(answer), targets: (answer.targets ?? []).map(target) };
}

function target({ id, kind, status, url }) {
  return { id, kind, status: status ?? 'succeeded', url };
}
