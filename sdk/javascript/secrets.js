/**
 * Secrets by name. A plugin holds a stand-in, and the host puts the value in its place in header values of requests to the
 * hosts that the secret was granted for.
 */

import * as host from 'pipewright:plugin/secrets@0.1.0';

import { calling } from './failure.js';
import { text } from './shape.js';

/** A text to put into a header value as it is, e.g. after `Bearer `; it means nothing anywhere else. */
export function standIn(name) {
  text(name, 'secrets.standIn.name');
  return calling(() => host.standIn(name));
}

/** The whole value of an `Authorization` header for basic authentication, with the secret as password. */
export function basic(user, name) {
  text(user, 'secrets.basic.user');
  text(name, 'secrets.basic.name');
  return calling(() => host.basic(user, name));
}

/** The value itself: a capability of its own. */
export function reveal(name) {
  text(name, 'secrets.reveal.name');
  return calling(() => host.reveal(name));
}
