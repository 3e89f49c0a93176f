/**
 * What drives promises within one call of the host: timers, and whatever waits for the host. The interface is synchronous; the
 * engine runs what was promised between two of its own timers, so that a turn of this loop is one of those.
 */

import { subscribeDuration, now } from 'wasi:clocks/monotonic-clock@0.2.12';
import { poll } from 'wasi:io/poll@0.2.12';

import { Failure } from './failure.js';
import { DISPOSE } from './streams.js';

const MILLISECOND_NANOSECONDS = 1_000_000;
/** As in browsers and Node.js: what is longer would not be awaited. */
const TIMER_MILLISECONDS_MAX = 2 ** 31 - 1;
/** What the engine itself has promised takes some turns, and nothing of it is seen from here. */
const IDLE_TURNS_MAX = 64;
const NAMES = ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval', 'queueMicrotask'];

/** The engine's own, before the plugin's takes its place. */
const turnLater = globalThis.setTimeout;

/** Who waits: `{ pollables, due, keeps, ready }`. Only what keeps the call is awaited once `run` has answered. */
const waiting = new Set();
const timers = new Map();
let lastTimer = 0;
let isRunning = false;
/** When this turn began, once somebody asks. As in Node.js timers count from there: of two that are set in one turn the shorter comes first. */
let turnBegan;

/** Fails in words what only works within a call: while the module is loaded there is no host. */
export function mustRun(what) {
  if (!isRunning) throw new Error(`${what} works only while an action runs: call it within \`run\`, not while the module is loaded`);
}

/** Resolves as soon as one of them is ready, or rejects with the reason of a signal. */
export function until(pollables, signal) {
  mustRun('waiting');
  return new Promise((ready, reject) => {
    const waiter = { pollables, due: 0, keeps: true, ready };
    const abort = () => {
      waiting.delete(waiter);
      reject(signal.reason);
    };
    if (signal?.aborted) return abort();
    signal?.addEventListener('abort', abort, { once: true });
    waiting.add(waiter);
  });
}

function timer(name, callback, milliseconds, values, { repeats = false, keeps = true } = {}) {
  mustRun(name);
  if (typeof callback !== 'function') throw new TypeError(`\`${name}\` takes a function, and not ${typeof callback}`);
  const pause = Math.min(Math.max(Number(milliseconds) || 0, repeats ? 1 : 0), TIMER_MILLISECONDS_MAX);
  lastTimer += 1;
  const id = lastTimer;
  const begin = () => {
    turnBegan ??= now();
    const due = turnBegan + BigInt(Math.round(pause * MILLISECOND_NANOSECONDS));
    const left = due - now();
    const waiter = {
      pollables: [subscribeDuration(left > 0n ? left : 0n)],
      due: Number(due),
      keeps,
      repeats,
      ready() {
        if (repeats) begin();
        else timers.delete(id);
        callback(...values);
      },
    };
    timers.set(id, waiter);
    waiting.add(waiter);
  };
  begin();
  return id;
}

function clear(id) {
  const waiter = timers.get(id);
  if (!waiter) return;
  timers.delete(id);
  end(waiter);
}

function end(waiter) {
  waiting.delete(waiter);
  if (waiter.due > 0) for (const pollable of waiter.pollables) pollable[DISPOSE]();
}

const functions = {
  setTimeout: (callback, milliseconds, ...values) => timer('setTimeout', callback, milliseconds, values),
  setInterval: (callback, milliseconds, ...values) => timer('setInterval', callback, milliseconds, values, { repeats: true }),
  clearTimeout: clear,
  clearInterval: clear,
  // What it throws is a rejection, which is told.
  queueMicrotask: (callback) => void Promise.resolve().then(() => callback()),
};

/** Puts this loop's functions in the place of the engine's; gives back what undoes it. */
export function install() {
  const before = Object.fromEntries(NAMES.map((name) => [name, globalThis[name]]));
  const abortAfter = AbortSignal.timeout;
  Object.assign(globalThis, functions);
  AbortSignal.timeout = (milliseconds) => {
    const controller = new AbortController();
    const abort = () => controller.abort(new DOMException(`${milliseconds} ms are over`, 'TimeoutError'));
    timer('AbortSignal.timeout', abort, milliseconds, [], { keeps: false });
    return controller.signal;
  };
  return () => {
    Object.assign(globalThis, before);
    AbortSignal.timeout = abortAfter;
  };
}

/** Waits for the host until one waiter is ready, and lets it go on. */
function advance() {
  if (waiting.size === 0) return false;
  const all = [...waiting].flatMap((waiter) => waiter.pollables.map((pollable) => ({ waiter, pollable })));
  const ready = [...poll(all.map(({ pollable }) => pollable))].map((index) => all[index].waiter);
  const first = ready.reduce((one, other) => (other.due < one.due ? other : one));
  end(first);
  turnBegan = undefined;
  first.ready();
  return true;
}

/**
 * Runs a function, which may be async, until its answer is there and all that it left behind has ended: timers that it set and
 * requests that nobody waits for. `rejected` says which rejection nobody has heard of.
 */
export async function drive(start, rejected = () => undefined) {
  isRunning = true;
  waiting.clear();
  timers.clear();
  turnBegan = undefined;
  try {
    return await new Promise((resolve, reject) => {
      let answered = false;
      let answer;
      let idleTurns = 0;
      const answering = (value) => {
        answered = true;
        answer = value;
      };
      Promise.resolve().then(start).then(answering, reject);
      const turn = () => {
        turnBegan = undefined;
        try {
          if (answered && ![...waiting].some((waiter) => waiter.keeps)) {
            const unheard = rejected();
            return unheard ? reject(unheard.reason) : resolve(answer);
          }
          if (answered && [...waiting].every((waiter) => waiter.repeats || !waiter.keeps)) {
            throw new Failure('`setInterval` still runs when the action has answered: end it by `clearInterval`');
          }
          idleTurns = advance() ? 0 : idleTurns + 1;
          if (idleTurns > IDLE_TURNS_MAX) {
            throw rejected()?.reason ?? new Failure('`run` waits for a promise that nothing will settle any more');
          }
          turnLater(turn, 0);
        } catch (error) {
          reject(error);
        }
      };
      turnLater(turn, 0);
    });
  } finally {
    isRunning = false;
  }
}
