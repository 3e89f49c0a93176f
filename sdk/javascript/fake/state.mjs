/** The call that runs just now under the stand-ins; see testing.mjs. */

let current;

export function begin(call) {
  if (current) throw new Error('one action runs at a time: `await` the first `run`');
  current = call;
}

export function end() {
  current = undefined;
}

/** What the running call has; `what` says who asks. */
export function call(what) {
  if (!current) throw new Error(`${what} works only while an action runs: call it within \`run\`, not while the module is loaded`);
  return current;
}

/** An error as the host's interfaces give it: a variant. */
export function refused(tag, val) {
  return Object.assign(new Error(`${tag}: ${val}`), { payload: { tag, val } });
}
