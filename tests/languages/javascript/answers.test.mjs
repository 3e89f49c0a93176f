/** What an action gives that the host cannot take is told in words; and what the host of unit tests refuses of a test. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Failure, Wait, caches, commands, definePlugin, files, http, log, results, secrets, tools } from '../pipewright/javascript/pipewright.js';
import { checks } from '../pipewright/javascript/checks.js';
import { run } from '../pipewright/javascript/testing.mjs';

const cycle = {};
cycle.cycle = cycle;

/** A plugin of one action. */
function module(category, answer, more = {}) {
  const action = { provider: 'X', run: answer, ...(category === 'source' ? { latest: answer } : {}), ...more };
  return definePlugin({ name: 'a/b', version: '1.0.0', [category]: [action] });
}

function called(category, answer, given = {}) {
  const action = `${category[0].toUpperCase()}${category.slice(1)}/Custom/X/1`;
  return run(module(category, answer), { action, ...given });
}

const URL_TEXT = 'https://example.com/';

/** What is given to a function of the layer, and what the failure says. */
const CALLS = [
  [() => log.progress('half', '50'), '`log.progress.percent` must be a number, and is "50"'],
  [() => log.progress('half', NaN), '`log.progress.percent` must be a number, and is NaN'],
  [() => files.list(['/inputs']), '`files.list.path` must be a text, and is an object (Array)'],
  [() => files.list('/scratch', 'a'), '`files.list.except` must be a list, and is "a"'],
  [() => files.read(), '`files.read.path` must be a text, and is undefined'],
  [() => files.readText('/scratch/a', { bytesMax: '5' }), '`files.read.bytesMax` must be a number, at least 0, and is "5"'],
  [() => [...files.chunks(1)], '`files.chunks.path` must be a text, and is 1'],
  [() => files.write(1, 'a'), '`files.write.path` must be a text, and is 1'],
  [() => files.write('/scratch/a', 'a', { executable: 1 }), '`files.write.executable` must be `true` or `false`, and is 1'],
  [() => files.write('/scratch/a', 5), 'what is written is a text, a `Uint8Array`, or iterated for them'],
  [() => files.create(1), '`files.create.path` must be a text'],
  [() => files.digest(1), '`files.digest.path` must be a text'],
  [() => files.copy('/scratch/a', null), '`files.copy.destination` must be a text, and is null'],
  [() => files.copy(1, 'a'), '`files.copy.source` must be a text'],
  [() => files.copy('a', 'b', [1]), '`files.copy.except[0]` must be a text'],
  [() => files.setExecutable('/scratch/a', 'yes'), '`files.setExecutable.executable` must be `true` or `false`'],
  [() => files.setExecutable(1), '`files.setExecutable.path` must be a text'],
  [() => files.link('/scratch/a', 1), '`files.link.target` must be a text'],
  [() => files.link(1, 'a'), '`files.link.path` must be a text'],
  [() => files.sync(1), '`files.sync.path` must be a text'],
  [() => files.zip(1, 'a'), '`files.zip.source` must be a text'],
  [() => files.zip('a', 1), '`files.zip.destination` must be a text'],
  [() => files.unzip(1, 'a'), '`files.unzip.source` must be a text'],
  [() => files.unzip('a', 1), '`files.unzip.destination` must be a text'],
  [() => http.fetch(5), '`request.url` must be a text or a `URL`, and is 5'],
  [() => http.send(5), '`request.url` must be a text or a `URL`, and is 5'],
  [() => http.stream(5), '`request.url` must be a text or a `URL`, and is 5'],
  [() => http.fetch(URL_TEXT, { method: 5 }), '`request.method` must be a text, and is 5'],
  [() => http.fetch(URL_TEXT, { headers: new Map() }), '`request.headers` must be an object of values by their names, and is an object (Map)'],
  [() => http.fetch(URL_TEXT, { headers: { 'x-a': undefined } }), '`request.headers.x-a` must be a text or a number, and is undefined'],
  [() => http.fetch(URL_TEXT, { bytesMax: -1 }), '`request.bytesMax` must be a number, at least 0'],
  [() => http.fetch(URL_TEXT, { timeouts: 5 }), '`request.timeouts` must be an object'],
  [() => http.fetch(URL_TEXT, { timeouts: { connect: '5s' } }), 'the timeout `connect` is a number of seconds above 0'],
  [() => http.fetch(URL_TEXT, { body: 5 }), 'what is written is a text, a `Uint8Array`, or iterated for them'],
  [() => secrets.standIn(), '`secrets.standIn.name` must be a text, and is undefined'],
  [() => secrets.basic(1, 'token'), '`secrets.basic.user` must be a text'],
  [() => secrets.basic('me', 1), '`secrets.basic.name` must be a text'],
  [() => secrets.reveal(1), '`secrets.reveal.name` must be a text'],
  [() => commands.start('make all'), '`commands.start.words` must be a list, and is "make all"'],
  [() => commands.start(['make', 1]), '`commands.start.words[1]` must be a text'],
  [() => commands.start(['make'], { environment: { A: 1 } }), '`commands.start.options.environment.A` must be a text'],
  [() => commands.start(['make'], { enviroment: {} }), '`commands.start.options` has no `enviroment`; it has directory, '],
  [() => commands.start(['make'], { network: 'yes' }), '`commands.start.options.network` must be `true` or `false`'],
  [() => commands.start(['make'], { wallSeconds: 1.5 }), '`commands.start.options.wallSeconds` must be a whole number from 1'],
  [() => caches.restore(1, 'a'), '`caches.restore.key` must be a text, and is 1'],
  [() => caches.restore('a'), '`caches.restore.directory` must be a text, and is undefined'],
  [() => caches.restore('a', 'b', { fallbackKeys: 'c' }), '`caches.restore.options.fallbackKeys` must be a list, and is "c"'],
  [() => caches.restore('a', 'b', { fallback: [] }), '`caches.restore.options` has no `fallback`; it has fallbackKeys'],
  [() => caches.save('a', 1), '`caches.save.directory` must be a text'],
  [() => tools.run(1), '`tools.run.component` must be a text, and is 1'],
  [() => tools.run('a', 'b'), '`tools.run.words` must be a list, and is "b"'],
  [() => tools.run('a', [], { digest: 1 }), '`tools.run.options.digest` must be a text'],
  [() => tools.run('a', [], { environment: { A: 1 } }), '`tools.run.options.environment.A` must be a text'],
  [() => tools.run('a', [], { network: 1 }), '`tools.run.options.network` must be `true` or `false`'],
  [(action) => action.directory(1), '`action.directory.name` must be a text'],
];

/** The category, what its action does, and what the failure says. */
const WRONG = [
  ...CALLS.map(([call, expected]) => ['build', (action) => Promise.resolve(call(action)).then(() => ({})), expected]),
  ['build', () => ({ externalId: 42 }), '`externalId` must be a text, and is 42'],
  ['build', () => ({ summary: 42 }), '`summary` must be a text, and is 42'],
  ['build', () => ({ links: [{ url: 'https://example.com/' }] }), '`links[0].title` must be a text, and is undefined'],
  ['build', () => ({ links: [{ title: 'x', url: new URL('https://example.com/') }] }), '`links[0].url` must be a text, and is an object (URL)'],
  ['build', () => ({ links: 'https://example.com/' }), '`links` must be a list'],
  ['build', () => ({ variables: { A: NaN } }), '`variables.A` must be a text, a number, `true`, `false`, or a list of texts, and is NaN'],
  ['build', () => ({ variables: { A: { b: 1 } } }), '`variables.A` must be a text, a number'],
  ['build', () => ({ variables: ['A'] }), '`variables` must be an object'],
  ['build', () => ({ variables: new Map([['A', 'b']]) }), '`variables` must be an object of values by their names, and is an object (Map)'],
  ['build', () => ({ cases: [] }), 'what the action returned has no `cases`; it has summary, variables'],
  ['build', () => [], 'what the action returned must be an object'],
  ['build', () => null, 'what the action returned must be an object, and is null'],
  ['build', () => {}, '`run` returned nothing; it must return an object, or a `Wait`'],
  ['test', () => {}, '`run` returned nothing'],
  ['deploy', async () => {}, '`run` returned nothing'],
  ['test', () => ({}), '`cases` must be a list, and is undefined'],
  ['test', () => ({ cases: [{ name: 'x', status: 'ok' }] }), '`cases[0].status` must be one of passed, failed, skipped, and is "ok"'],
  ['test', () => ({ cases: [{ name: 'x', status: 'passed', line: 1 }] }), '`cases[0].file` must be a text'],
  ['deploy', () => ({ targets: [{ id: 1, kind: 'x' }] }), '`targets[0].id` must be a text, and is 1'],
  ['approval', () => ({ approved: 1 }), '`approved` must be `true` or `false`, and is 1'],
  ['rule', () => ({ passed: true, reason: 7 }), '`reason` must be a text, and is 7'],
  ['source', () => ({ revision: { id: 1 } }), '`revision.id` must be a text, and is 1'],
  ['source', () => ({ revision: { id: 'a', created: new Date(NaN) } }), '`revision.created` must be milliseconds since 1970'],
  ['build', () => new Wait({ seconds: 1, summary: 5 }), '`Wait.summary` must be a text, and is 5'],
  ['build', () => new Wait({ seconds: NaN }), '`Wait.seconds` must be a number from 0 to 1000000000, and is NaN'],
  ['build', () => new Wait({ seconds: -5 }), '`Wait.seconds` must be a number from 0 to 1000000000, and is -5'],
  ['build', () => new Wait({ until: -1 }), '`Wait.until` must be milliseconds since 1970, and is -1'],
  ['build', () => new Wait({ second: 1 }), '`Wait` has no `second`'],
  ['build', () => new Wait(), 'needs `seconds`, `until` or `signal`'],
  ['build', () => new Wait({ seconds: 1, continuation: cycle }), '`Wait.continuation` must be what JSON can hold'],
  ['build', () => new Wait({ seconds: 1, continuation: 1n }), '`Wait.continuation` must be what JSON can hold'],
  ['build', () => new Wait({ seconds: 1, continuation: () => {} }), '`Wait.continuation` must be what JSON can hold: a function is none'],
  ['build', () => { throw new Failure('a', 'Nonsense'); }, 'there is no kind of failure `Nonsense`; there are job-failed, '],
  ['build', () => results.tests(1, []), '`results.tests.name` must be a text'],
  ['build', () => results.tests('a', [{ name: 1, status: 'failed' }]), '`results.tests.cases[0].name` must be a text, and is 1'],
  ['build', () => results.tests('a', 1), '`results.tests.cases` must be a list'],
  ['build', () => results.coverage('a', [{ path: 'x', lines: [-1, 3] }]), '`results.coverage.files[0].lines[0]` must be a whole number'],
  ['build', () => results.coverage('a', [{ path: 'x', lines: ['a', 3] }]), '`results.coverage.files[0].lines[0]` must be a whole number'],
  ['build', () => results.coverage('a', [{ path: 'x', lines: [5, 3] }]), '`results.coverage.files[0].lines` must be what is covered and all'],
];

for (const [category, answer, expected] of WRONG) {
  test(`${category}: ${expected}`, async () => {
    const { outcome, failure } = await called(category, answer);
    assert.equal(outcome, 'failed');
    assert.equal(failure.kind, 'JobFailed');
    assert(failure.message.includes(expected), failure.message);
  });
}

test('wrong settings are told when a pipeline is made', () => {
  const settings = { atLeast: { type: 'integer' }, flag: { type: 'boolean', name: 'Really' }, how: { choices: ['a', 'b'] }, any: {} };
  definePlugin({ name: 'a/b', version: '1.0.0', build: [{ provider: 'Checked', settings, run: () => ({}) }] });
  const given = { AtLeast: '1.5', Really: 'yes', How: 'c', Any: 'x', Other: 'x' };
  const named = Object.entries(given).map(([name, value]) => ({ name, value }));
  const actionType = { category: 'build', owner: 'custom', provider: 'Checked', version: '1' };
  assert.deepEqual(checks.check(actionType, named), [
    { setting: 'AtLeast', message: 'must be a whole number, and is `1.5`' },
    { setting: 'Really', message: 'must be `true` or `false`, and is `yes`' },
    { setting: 'How', message: 'must be one of `a`, `b`, and is `c`' },
  ]);
  assert.deepEqual(checks.check({ ...actionType, category: 'test' }, named), []);
});

test('all mistakes in declared settings are told', () => {
  const settings = { a: { type: 'int', docs: '' }, b: { default: 1 }, c: { type: 'list', default: 'x' }, d: { type: 'integer', default: 1.5 } };
  const declared = () => module('build', () => ({}), { settings });
  assert.throws(declared, {
    name: 'TypeError',
    message:
      'setting `a`: `docs` is not known; setting `a`: `int` is not a type of settings; setting `c`: its default must be a JSON array of ' +
      'strings, like `["a", "b"]`, and is `x`; setting `d`: its default must be a whole number, and is `1.5`; a setting has type, ' +
      'documentation, default, optional, secret, choices, name, and its type is text, integer, number, boolean, list',
  });
});

test('what is right is told', async () => {
  const answer = { summary: null, variables: { A: 1.5, B: ['x'], C: null, D: true }, links: [{ title: 'a', url: 'https://example.com/' }] };
  const { variables, links } = await called('build', () => answer);
  assert.deepEqual(variables, { A: '1.5', B: '["x"]', D: 'true' });
  assert.equal(links.length, 1);
  const { revision } = await called('source', () => ({ revision: { id: 'a', created: 0 } }));
  assert.equal(revision.created, 0);
  const { failure } = await called('source', () => ({ id: 1 }), { call: 'latest' });
  assert.match(failure.message, /^TypeError: `id` must be a text|^`id` must be a text/);
  const told = await called('build', () => results.tests('a', [{ name: 'x', status: 'failed', seconds: 0 }]) ?? {});
  assert.equal(told.results.a.cases[0].durationNanos, 0n);
});

test('reports have the limits of the host', async () => {
  const cases = (count, message = '') => [...Array(count).fill({ name: 'x', status: 'succeeded', message }), { name: 'last', status: 'failed' }];
  const check = async (report, kept, left) => {
    const { log, results: told } = await called('build', () => report() ?? {});
    const { cases = told.unit.files } = told.unit;
    assert.equal(cases.length, kept);
    assert.equal(cases.at(-1).name ?? 'last', 'last');
    assert.equal(log, left === 0 ? '' : `the report unit is not kept whole: ${left} of it are left out`);
    return cases[0];
  };
  await check(() => results.tests('unit', cases(9_999)), 10_000, 0);
  await check(() => results.tests('unit', cases(10_000)), 10_000, 1);
  // 4 MiB, less the last, of 5,000 bytes of message each, one of name, and 128 besides.
  const { message } = await check(() => results.tests('unit', cases(1_000, 'x'.repeat(6_000))), 818, 183);
  assert.equal(message.length, 5_000);
  const file = { path: 'é'.repeat(1_001), lines: [0, 0] };
  const { path } = await check(() => results.coverage('unit', Array(10_001).fill(file)), 1_971, 8_030);
  assert.equal(path.length, 1_000);
  const { failure } = await called('build', () => {
    for (let count = 0; count < 101; count += 1) results.tests('unit', []);
  });
  assert.equal(failure.message, 'a call keeps 100 reports: put several into one');
});

test('caches are those of the test', async () => {
  const index = ({ input, output, scratch }) => {
    const key = files.digest(`${input}/words.txt`);
    if (!caches.restore(key, 'index', { fallbackKeys: ['part-'] })) {
      files.write(`${scratch}/index/words`, 'made');
      caches.save(key, 'index');
    }
    files.copy(`${scratch}/index`, output);
    return {};
  };
  const given = { inputs: { Source: { 'words.txt': 'a b' } }, outputs: ['Index'] };
  const first = await called('build', index, { ...given, caches: {} });
  const [[key, directory]] = Object.entries(first.savedCaches);
  assert.deepEqual([directory, first.outputs.Index], ['index', { words: 'made' }]);
  for (const kept of [key, 'part-1']) {
    const second = await called('build', index, { ...given, caches: { 'part-0': { words: 'old' }, [kept]: { words: 'kept' } } });
    assert.deepEqual([second.outputs.Index, second.savedCaches], [{ words: 'kept' }, {}]);
  }
  const denied = await called('build', index, given);
  assert.equal(denied.failure.kind, 'PermissionError');
  const none = await called('build', () => caches.save('a', 'nowhere'), { caches: {} });
  assert.equal(none.failure.kind, 'ConfigurationError');
});

test('tools end as the test says', async () => {
  const lint = ({ input }) => ({ summary: `status ${tools.run(`${input}/lint.wasm`, ['--strict'], { environment: { LEVEL: 'high' } })}` });
  const inputs = { Source: {} };
  const ran = await called('build', lint, { inputs, tools: [3] });
  assert.equal(ran.summary, 'status 3');
  const tool = { component: '/inputs/Source/lint.wasm', digest: undefined, arguments: ['--strict'], environment: { LEVEL: 'high' }, network: false };
  assert.deepEqual(ran.tools, [tool]);
  await assert.rejects(called('build', lint, { inputs }), /for which the test has no end/);
});

test('all wrong settings are told', async () => {
  const plugin = module('build', () => ({}), { settings: { first: { type: 'integer' }, second: {} } });
  const { failure } = await run(plugin, { action: 'Build/Custom/X/1', settings: { First: 'x' } });
  assert.equal(failure.kind, 'ConfigurationError');
  assert.match(failure.message, /`First` must be a whole number.*\n.*`Second` is missing/);
  await assert.rejects(run(plugin, { action: 'Build/Custom/X/1', settings: { Bogus: '1' } }), /`settings` of this action has no `Bogus`; it has First, Second/);
});

test('a mistyped key of a test is told', async () => {
  const request = 'GET https://example.com/';
  const ask = () => ({ summary: http.fetch('https://example.com/').text() });
  await assert.rejects(called('build', ask, { http: [{ request, jsn: {} }] }), /an answer of `http` has no `jsn`; it has request, with/);
  await assert.rejects(called('build', ask, { http: [{ request, with: { head: {} } }] }), /`with` of an answer has no `head`/);
  await assert.rejects(called('build', ask, { names: { user: 'me' } }), /`names` has no `user`/);
  await assert.rejects(called('build', ask, { http: [{ request }, { request }] }), /not made/);
});

test('names and the clock are those of the host', async () => {
  const tell = ({ context, resumed }) => {
    log.info(`${context.account} ${context.stage} ${context.actionExecutionId}`);
    const until = resumed ? resumed.continuation : Date.now() + 60_000;
    return Date.now() < until ? new Wait({ seconds: 10, continuation: until }) : {};
  };
  let told = await called('build', tell, { names: { stage: 'Prod' } });
  assert.match(told.log, /000000000000 Prod case/);
  for (let count = 0; count < 6; count += 1) {
    assert.equal(told.outcome, 'waiting');
    told = await called('build', tell, { after: told, wake: 'time' });
  }
  assert.equal(told.outcome, 'succeeded');
  const waiting = await called('build', () => new Wait({ signal: 'approval' }));
  await assert.rejects(called('build', () => ({}), { after: waiting, wake: 'time' }), /does not wait for a time/);
});
