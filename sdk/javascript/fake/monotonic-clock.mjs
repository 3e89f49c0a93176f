/** The stand-in of `wasi:clocks/monotonic-clock`: time passes by waiting for it. */

import { call } from './state.mjs';
import { Pollable } from './streams.mjs';

export const now = () => call('the clock').clock.nanoseconds;
export const subscribeDuration = (nanoseconds) => new Pollable(now() + nanoseconds);
