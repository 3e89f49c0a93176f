/** What is asynchronous, what goes over HTTP, and what goes wrong. */

import { bracket } from 'commonjs-package';
import { twice } from 'module-package';

import { type Action, Failure, Wait, ask, defineAction, definePlugin, files, http, log } from '../pipewright/javascript/pipewright.js';

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** In the words of the failure that comes of it. */
function refusal(url: string, options: http.Options = {}) {
  try {
    http.fetch(url, options);
    log.info(`${url} answered`);
  } catch (error) {
    log.info(error instanceof Failure ? `${error.kind}: ${error.message}` : `no failure: ${error}`);
  }
}

const DEEDS: Record<string, (url: string, action: Action) => unknown> = {
  // -- asynchronous
  async timers() {
    for (const pause of [30, 10, 20]) setTimeout((what: string) => log.info(what), pause, `after ${pause}`);
    const interval = setInterval(() => log.info('again'), 2);
    await pause(5);
    clearInterval(interval);
    clearTimeout(setTimeout(() => log.info('cleared'), 1));
    queueMicrotask(() => log.info('soon'));
    await null;
    log.info(text(new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array()))).length > 0);
  },
  async 'left behind'() {
    setTimeout(() => log.info('was waited for'), 5);
  },
  async generators() {
    const numbers = async function* () {
      for (const number of [1, 2]) {
        await pause(1);
        yield number;
      }
    };
    for await (const number of numbers()) log.info(`number ${number}`);
    const aborted = await new Promise<string>((resolve) => {
      const signal = AbortSignal.timeout(1);
      signal.addEventListener('abort', () => resolve(signal.reason.name));
    });
    log.info(aborted);
  },

  // -- what goes wrong is told
  floating() {
    (async () => {
      await null;
      throw new Error('nobody awaits me');
    })();
  },
  'rejected then'() {
    void Promise.resolve().then(() => Promise.reject(new Error('nobody awaits me')));
  },
  'handled later'() {
    const rejected = Promise.reject(new Error('somebody awaits me'));
    setTimeout(() => rejected.catch(() => log.info('handled')), 1);
  },
  'timer throws'() {
    setTimeout(() => {
      throw new Error('in a timer');
    }, 1);
  },
  'microtask throws'() {
    queueMicrotask(() => {
      throw new Error('in a microtask');
    });
  },
  interval() {
    setInterval(() => {}, 1);
  },
  never: () => new Promise(() => {}),
  async crash() {
    console.log('seen', (await null) ?? new RangeError('shown'));
    const nothing: { length: number } | null = JSON.parse('null');
    log.info(nothing!.length);
  },
  languages() {
    const date = new Date(0);
    log.info(date.toLocaleString('de-DE', { timeZone: 'Europe/Berlin' }));
    log.info(`${date.toLocaleString()}; ${date.toLocaleTimeString('de', { timeZone: 'GMT' })}; ${new Date(NaN).toLocaleString('de')}`);
    log.info(date.toLocaleDateString('de-AT', { month: 'long', day: 'numeric', timeZone: 'America/New_York' }));
    log.info([1234.5, null, 7n].toLocaleString('de'));
    log.info(new Intl.NumberFormat('de', { style: 'currency', currency: 'EUR' }).format(1234.5));
    log.info(new Intl.ListFormat('en').format(['one', 'two', 'three']));
    log.info(`${new Intl.PluralRules('de-AT').select(1)}; ${Intl.NumberFormat('de') instanceof Intl.NumberFormat}`);
    log.info('I'.toLocaleLowerCase('de'));
  },
  // What is not there is told, and nothing else is taken for it.
  'no language': (tag) => log.info((1).toLocaleString(tag)),
  'no time zone': (zone) => log.info(new Date(0).toLocaleString('de', { timeZone: zone })),
  'no letters': () => log.info('I'.toLocaleLowerCase('tr')),
  'no order': () => log.info('a'.localeCompare('b', 'de')),
  'no collator': () => log.info(new Intl.Collator('de').compare('a', 'b')),
  // @ts-expect-error: there is no process.
  process: () => log.info(process.env.HOME),
  'wrong status': () => ({ targets: 1 }),
  'no end': () => new Wait({ summary: 'nothing ends it' }),

  // -- packages of npm, as modules and as CommonJS
  packages: () => log.info(bracket(twice('ab'))),

  // -- HTTP
  async together(url) {
    // The server answers none before all three are there.
    const [one, other] = [http.send(`${url}/together`), http.send(`${url}/together`, { method: 'POST', body: 'x' })];
    const third = fetch(`${url}/together`, { headers: { 'x-some': 'thing' } }).then((response) => response.text());
    log.info([(await one).text(), (await other).text(), await third].join(' '));
  },
  'streamed down'(url, { scratch }) {
    // The server sends the second chunk once it is told that the first is here.
    for (const chunk of http.stream(`${url}/drip`)) {
      log.info(text(chunk));
      if (text(chunk) === 'first') http.fetch(`${url}/go`);
    }
    files.write(`${scratch}/saved`, http.stream(`${url}/count`, { method: 'PUT', body: 'four' }));
    log.info(`saved ${files.readText(`${scratch}/saved`)}`);
  },
  async 'streamed down by fetch'(url) {
    const { body } = await fetch(`${url}/drip`);
    for await (const chunk of body!) {
      log.info(text(chunk));
      if (text(chunk) === 'first') await fetch(`${url}/go`);
    }
  },
  async 'streamed up'(url, { scratch }) {
    files.write(`${scratch}/large`, new Uint8Array(1_000_000));
    log.info(http.fetch(`${url}/count`, { method: 'PUT', body: files.chunks(`${scratch}/large`) }).text());
    const slowly = async function* () {
      for (let count = 0; count < 3; count += 1) {
        await pause(1);
        yield 'seven..';
      }
    };
    log.info((await http.send(`${url}/count`, { method: 'PUT', body: slowly() })).text());
    const form = new URLSearchParams({ a: 'b' });
    log.info(await (await fetch(`${url}/count`, { method: 'POST', body: form })).text());
  },
  early(url) {
    for (const body of [new Uint8Array(1000), new Uint8Array(16 * 1024 * 1024)]) {
      const response = http.fetch(`${url}/413`, { method: 'POST', body });
      log.info(`${response.status} ${response.text()}`);
    }
  },
  refusals(url) {
    refusal(`${url}/silent`, { timeouts: { firstByte: 0.2 } });
    refusal(`${url}/stalled`, { timeouts: { betweenBytes: 0.2 } });
    refusal(`${url}/hang-up`, { method: 'POST', body: new Uint8Array(1_000_000) });
    refusal('http://127.0.0.1:1/', { method: 'POST', body: 'text' });
    refusal('not a URL');
    refusal('http://127.0.0.1:2/', { method: 'POST', body: new Uint8Array(1_000_000) });
  },
  async abandoned(url) {
    // It is never answered.
    const error = await fetch(`${url}/silent`, { signal: AbortSignal.timeout(20) }).catch((error: Error) => error);
    log.info((error as Error).name);
  },
  async redirect(url) {
    log.info((await fetch(`${url}/moved`, { redirect: 'manual' })).status);
    await fetch(`${url}/moved`);
  },
};

const web = defineAction({
  provider: 'Web',
  settings: { deed: {}, url: { default: '' } },
  async run(action, { deed, url }) {
    const done = await DEEDS[deed]!(url, action);
    return (done as object) ?? { summary: 'done' };
  },
});

export const { plugin, build } = definePlugin({
  name: 'tests/web',
  version: '1.0.0',
  asks: [ask('http', { name: '*', reason: 'to ask' }), ask('clock', { reason: 'to measure' })],
  build: [web],
});
