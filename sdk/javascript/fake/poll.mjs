/** The stand-in of `wasi:io/poll`: whatever waits for time waits for the least of it, and nothing passes in truth. */

import { call } from './state.mjs';

export function poll(pollables) {
  const { clock } = call('waiting');
  const least = pollables.reduce((one, { due }) => (due < one ? due : one), pollables[0].due);
  if (least > clock.nanoseconds) clock.nanoseconds = least;
  return Uint32Array.from(pollables.keys()).filter((index) => pollables[index].due <= clock.nanoseconds);
}
