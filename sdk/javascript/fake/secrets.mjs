/** The stand-in of `pipewright:plugin/secrets`: the values come from the test, and are put into header values of requests. */

import { call, refused } from './state.mjs';

function granted(name, grant) {
  const secret = call('`secrets`').secrets[name];
  if (secret === undefined) {
    throw refused('denied', `no grant allows the secret \`${name}\`; give it to the test as \`secrets: { ${name}: '…' }\``);
  }
  const { value, reveal = false } = typeof secret === 'string' ? { value: secret } : secret;
  if (grant === 'reveal' && !reveal) {
    throw refused('denied', `no grant reveals \`${name}\`; give it to the test as \`{ value: '…', reveal: true }\``);
  }
  return value;
}

/** A text that `put` finds again. */
function stand(name, value) {
  const { standIns } = call('`secrets`');
  const text = `stand-in-${standIns.size + 1}-of-${name}`;
  standIns.set(text, value);
  return text;
}

export const standIn = (name) => stand(name, granted(name));
export const basic = (user, name) => stand(name, `Basic ${Buffer.from(`${user}:${granted(name)}`).toString('base64')}`);
export const reveal = (name) => granted(name, 'reveal');
