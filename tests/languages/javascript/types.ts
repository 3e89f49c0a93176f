/** What the types promise, for the compiler alone: nothing of it runs. */

import { type Settings, Wait, ask, caches, defineAction, definePlugin, files, http, tools } from '../pipewright/javascript/pipewright.js';

type Same<One, Other> = (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false;
const same = <One, Other>(_: Same<One, Other>) => {};

const typed = defineAction({
  provider: 'Typed',
  inputs: [0, 1],
  settings: {
    plain: {},
    left: { optional: true },
    atLeast: { type: 'integer', optional: true },
    real: { type: 'number' },
    flag: { type: 'boolean', default: false },
    names: { type: 'list', default: ['a'] },
    choice: { choices: ['one', 'other'], default: 'one' },
  },
  async run(action, settings) {
    same<typeof settings.plain, string>(true);
    same<typeof settings.left, string | undefined>(true);
    same<typeof settings.atLeast, number | undefined>(true);
    same<typeof settings.real, number>(true);
    same<typeof settings.flag, boolean>(true);
    same<typeof settings.names, string[]>(true);
    same<typeof settings.choice, 'one' | 'other'>(true);
    // @ts-expect-error: it is not declared.
    settings.other;
    // @ts-expect-error: it may be left out.
    settings.atLeast.toFixed();
    same<ReturnType<typeof caches.restore>, caches.Found | undefined>(true);
    if (!caches.restore('a', 'b', { fallbackKeys: ['c'] })) caches.save('a', 'b');
    // @ts-expect-error: the directory is needed.
    caches.save('a');
    const status: number = tools.run('/scratch/a.wasm', ['b'], { digest: 'c', environment: { D: 'e' }, network: caches.isGranted() });
    // @ts-expect-error: there is no such option.
    tools.run('/scratch/a.wasm', [], { grant: status });
    if (action.attempt > 1) return new Wait({ seconds: 1 });
    const sent: http.Response = await http.send('https://example.com/', { timeouts: { connect: 1 } });
    return { summary: sent.text(), variables: { Count: files.list(action.input).length } };
  },
});

same<Settings<{ a: { type: 'integer' } }>, { readonly a: number }>(true);

const judged = defineAction({ provider: 'Judged', run: () => ({ passed: true }) });
const checked = defineAction({ provider: 'Checked', run: () => ({ cases: [{ name: 'a', status: 'failed' }] }) });
const sourced = defineAction({ provider: 'Sourced', run: () => ({ revision: { id: 'a' } }), latest: () => ({ id: 'a' }) });

// @ts-expect-error: there is no such status.
defineAction({ provider: 'Checked', run: () => ({ cases: [{ name: 'a', status: 'fails' }] }) });
// @ts-expect-error: there is no such type.
defineAction({ provider: 'Typed', settings: { a: { type: 'int' } }, run: () => ({}) });
// @ts-expect-error: a provider is needed.
defineAction({ run: () => ({}) });
// A mistake is told where it is, and nowhere else.
// @ts-expect-error: it is `inputs`.
const mistaken = defineAction({ provider: 'Mistaken', input: 1, run: () => ({ cases: [{ name: 'a', status: 'failed' }] }) });

const base = { name: 'a/b', version: '1.0.0' };
export const { plugin, build, rule, test, source } = definePlugin({
  ...base,
  asks: [ask('http', { name: '*', reason: 'to ask' }), ask('clock', { reason: 'to measure' }), ask('caches', { reason: 'to keep' })],
  build: [typed],
  rule: [judged],
  test: [checked, mistaken],
  source: [sourced],
});
// @ts-expect-error: a rule gives a verdict.
definePlugin({ ...base, rule: [typed] });
// @ts-expect-error: a source needs `latest`.
definePlugin({ ...base, source: [typed] });
// @ts-expect-error: a clock has no name.
ask('clock', { name: 'a', reason: 'b' });
