/**
 * Finds rejections that nobody hears of: the engine tells nobody. The bundler makes plain promises of `async` functions, so that
 * all but the engine's own are made here.
 */

/** Rejected, and not yet heard of. */
const unheard = new Map();
const heard = new WeakSet();

/** The oldest rejection that nobody has heard of, as `{ reason }`. */
export function rejected() {
  for (const reason of unheard.values()) return { reason };
  return undefined;
}

export function install() {
  const Native = globalThis.Promise;
  const { prototype } = Native;
  const { then } = prototype;
  let isObserving = false;

  function Watched(executor) {
    const promise = Reflect.construct(Native, [executor], new.target ?? Watched);
    if (!isObserving) observe(promise);
    return promise;
  }

  function observe(promise) {
    isObserving = true;
    try {
      then.call(promise, undefined, (reason) => {
        if (!heard.has(promise)) unheard.set(promise, reason);
      });
    } finally {
      isObserving = false;
    }
  }

  // The same prototype: what the engine promises is an instance too, and `then` of it makes a promise that is watched.
  Watched.prototype = prototype;
  Object.setPrototypeOf(Watched, Native);
  Object.defineProperty(Watched, 'name', { value: 'Promise' });
  Object.defineProperty(Watched, Symbol.species, { get: () => Watched });
  prototype.constructor = Watched;
  prototype.then = function (fulfilled, refused) {
    heard.add(this);
    unheard.delete(this);
    return then.call(this, fulfilled, refused);
  };
  globalThis.Promise = Watched;
}
