/**
 * A stand-in of the host, so that `node --test` runs a plugin's actions without WebAssembly; testing.d.mts is its documentation.
 *
 * Loaded by `node --import`, it also teaches Node.js the host's interfaces and TypeScript.
 */

import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { register } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

register('./fake/hooks.mjs', import.meta.url);

const state = await import('./fake/state.mjs');
// What the layer imports of the host is known from here on.
const [loop, { fetch }] = await Promise.all([import('./loop.js'), import('./fetch.js')]);

const OWNERS = { Custom: 'custom', AWS: 'aws', ThirdParty: 'third-party' };
const KINDS = {
  'job-failed': 'JobFailed',
  'configuration-error': 'ConfigurationError',
  'permission-error': 'PermissionError',
  'revision-out-of-sync': 'RevisionOutOfSync',
  'revision-unavailable': 'RevisionUnavailable',
  'system-unavailable': 'SystemUnavailable',
};
const MILLISECOND_NANOSECONDS = 1_000_000n;
const KEYS = [
  'action', 'call', 'revision', 'settings', 'inputs', 'outputs', 'directories', 'secrets', 'http', 'caches', 'tools', 'commands',
  'environment', 'secret-environment', 'output-variables', 'idempotency-key', 'attempt', 'time', 'signal', 'wake', 'ended', 'after', 'names',
];
const ANSWER = ['request', 'with', 'status', 'headers', 'body', 'json', 'error'];
const WITH = ['headers', 'body', 'json'];
const NAMES = ['account', 'region', 'pipeline', 'execution', 'stage', 'action', 'action-execution'];

export async function run(plugin, given) {
  known(given, KEYS, 'a test');
  known(given.names ?? {}, NAMES, '`names`');
  for (const answer of given.http ?? []) {
    known(answer, ANSWER, 'an answer of `http`');
    known(answer.with ?? {}, WITH, '`with` of an answer');
  }
  const [category, owner, provider, version] = (given.action ?? '').split('/');
  if (version === undefined) throw new TypeError('`action` is written like "Build/Custom/Site/1"');
  const served = plugin[category.toLowerCase()];
  if (!served) throw new TypeError(`the plugin exports no \`${category.toLowerCase()}\``);
  const type = plugin.plugin?.describe().actionTypes.find(
    ({ id }) => id.category === category.toLowerCase() && id.owner === OWNERS[owner] && id.provider === provider && id.version === version,
  );
  if (type) known(given.settings ?? {}, type.settings.map(({ name }) => name), '`settings` of this action');
  const folder = fs.mkdtempSync(join(tmpdir(), 'pipewright-'));
  const inputs = Object.entries(given.inputs ?? {});
  const outputs = given.outputs ?? [];
  const call = {
    folder,
    log: [],
    progress: [],
    results: {},
    reports: 0,
    reportBytesLeft: 4 * 1024 * 1024,
    requests: [],
    standIns: new Map(),
    secrets: given.secrets ?? {},
    http: given.http && [...given.http],
    unmet: undefined,
    directories: new Set(Object.keys(given.directories ?? {})),
    clock: { nanoseconds: 0n },
    declaredSecrets: given['secret-environment'] ?? {},
    ended: given.ended && end(given.ended),
    job: undefined,
    caches: given.caches,
    savedCaches: {},
    toolEnds: [...(given.tools ?? [])],
    tools: [],
  };
  for (const root of ['inputs', 'outputs', 'directories', 'scratch']) fs.mkdirSync(join(folder, root));
  for (const [name, files] of inputs) fill(join(folder, 'inputs', name), files);
  for (const [name, files] of Object.entries(given.directories ?? {})) fill(join(folder, 'directories', name), files);
  fill(join(folder, 'scratch'), given.ended?.scratch ?? {});
  for (const name of outputs) fs.mkdirSync(join(folder, 'outputs', name));
  const request = {
    actionType: { category: category.toLowerCase(), owner: OWNERS[owner], provider, version },
    context: context(given),
    settings: named(given.settings),
    inputs: inputs.map(([name]) => name),
    outputs: outputs.map((name) => ({ name, files: [] })),
    commands: given.commands ?? [],
    environment: named(given.environment),
    outputVariables: given['output-variables'] ?? [],
    idempotencyKey: given['idempotency-key'] ?? 'case',
    attempt: given.attempt ?? 1,
    resumed: resumption(given),
  };
  const serve = category === 'Source' ? served[given.call ?? 'fetch'] : served.run;
  const restore = installed(call.clock, startOf(given));
  state.begin(call);
  try {
    const answer = await serve(request, given.revision).then(told, refusal);
    if (call.unmet) throw call.unmet;
    assert.deepEqual(call.http ?? [], [], 'requests of `http` that were not made');
    const read = (root) => Object.fromEntries(fs.readdirSync(join(folder, root)).map((name) => [name, contents(join(folder, root, name))]));
    const log = call.log.map(({ message }) => message).join('\n');
    const { progress, results, job, savedCaches, tools, requests } = call;
    return { ...answer, log, progress, results, job, savedCaches, tools, requests, outputs: read('outputs'), 'directories-after': read('directories') };
  } finally {
    state.end();
    restore();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** A mistyped key would do nothing. */
function known(given, keys, what) {
  const unknown = Object.keys(given).find((key) => !keys.includes(key));
  if (unknown !== undefined) throw new TypeError(`${what} has no \`${unknown}\`; it has ${keys.join(', ') || 'none'}`);
}

/** Who is called, as in `[names]` of a case. */
function context({ names = {}, 'idempotency-key': key = 'case' }) {
  const { account = '000000000000', region = 'local', pipeline = 'case', execution = 'case', stage = 'case', action = 'case' } = names;
  return { account, region, pipeline, executionId: execution, stage, action, actionExecutionId: names['action-execution'] ?? key };
}

/** A server's clock is never before the time that was waited for. */
function startOf({ time, wake, after }) {
  if (time !== undefined) return time;
  return Math.max(1_700_000_000_000, (wake && after?.waiting?.until) ?? 0);
}

/** `{ atLeast: 2 }` is not written as in `configuration`, and would be another thing there. */
function named(values = {}) {
  return Object.entries(values).map(([name, value]) => {
    if (typeof value !== 'string') throw new TypeError(`\`${name}\` is a text, as in the action's configuration`);
    return { name, value };
  });
}

function end({ status, signal, limit, tail = '' }) {
  return { status, signal, limit, tail, cpuMicros: 0n, memoryBytesMax: 0n, wallMicros: 0n };
}

function resumption({ after, signal, wake, ended }) {
  if (after === undefined) return undefined;
  if (after.outcome !== 'waiting') throw new TypeError('`after` is what a `run` gave that is waiting');
  const causes = [signal, wake, ended].filter((cause) => cause !== undefined);
  if (causes.length !== 1) throw new TypeError("give `signal`, `ended`, or `wake: 'time'`, besides `after`");
  if (wake !== undefined && after.waiting.until === undefined) throw new TypeError('the action does not wait for a time: give `signal`');
  const continuation = new TextEncoder().encode(JSON.stringify(after.continuation));
  if (signal === undefined) return { continuation, wake: { tag: 'time' } };
  return { continuation, wake: { tag: 'signal', val: { kind: signal.kind, payload: new TextEncoder().encode(signal.payload ?? '') } } };
}

/** The globals of a plugin, and a clock that only its own timers move; gives back what undoes it. */
function installed(clock, start) {
  const before = { fetch: globalThis.fetch, Date: globalThis.Date };
  const now = () => start + Number(clock.nanoseconds / MILLISECOND_NANOSECONDS);
  const RealDate = Date;
  globalThis.Date = class Date extends RealDate {
    constructor(...values) {
      super(...(values.length === 0 ? [now()] : values));
    }

    static now = now;
  };
  globalThis.fetch = fetch;
  const undo = loop.install();
  return () => {
    undo();
    Object.assign(globalThis, before);
  };
}

function fill(folder, files) {
  fs.mkdirSync(folder, { recursive: true });
  for (const [path, content] of Object.entries(files)) {
    fs.mkdirSync(dirname(join(folder, path)), { recursive: true });
    fs.writeFileSync(join(folder, path), content);
  }
}

/** The files of a folder by path, as texts. */
function contents(folder) {
  const files = {};
  for (const path of fs.readdirSync(folder, { recursive: true }).sort()) {
    if (fs.lstatSync(join(folder, path)).isFile()) files[path] = fs.readFileSync(join(folder, path), 'utf8');
  }
  return files;
}

/** What the ABI says, in the words of sdk/CASES.md. */
function told({ tag, val }) {
  if (tag === 'waiting') {
    const { until, signal, continuation, summary } = val;
    const waiting = { ...(signal === undefined ? {} : { signal }), ...(until === undefined ? {} : { until: Number(until) }) };
    return { outcome: 'waiting', summary, waiting, continuation: JSON.parse(new TextDecoder().decode(continuation)) };
  }
  if (tag === 'found') return { outcome: 'succeeded', revision: revision(val) };
  if (tag === 'decided') return { outcome: (val.approved ?? val.passed) ? 'succeeded' : 'rejected', summary: val.summary ?? val.reason };
  const { report = val, cases, targets } = val;
  const variables = Object.fromEntries(report.variables.map(({ name, value }) => [name, value]));
  const answer = { outcome: 'succeeded', summary: report.summary, 'external-id': report.externalId, variables, links: report.links };
  if ('revision' in val) answer.revision = revision(val.revision);
  if (targets) answer.targets = targets;
  if (cases) {
    answer.cases = cases.map(({ place, ...one }) => ({ ...one, ...place }));
    answer.counts = { passed: 0, failed: 0, skipped: 0 };
    for (const { status } of cases) answer.counts[status] += 1;
    if (answer.counts.failed > 0) answer.outcome = 'failed';
  }
  return answer;
}

function revision(found) {
  return found ? { ...found, created: found.created === undefined ? undefined : Number(found.created) } : false;
}

function refusal(error) {
  if (!error.payload?.kind) throw error;
  return { outcome: 'failed', failure: { kind: KINDS[error.payload.kind], message: error.payload.message } };
}
