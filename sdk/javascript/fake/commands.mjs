/** The stand-in of `pipewright:plugin/commands`. No program runs: a test says how one ended. */

import { call, refused } from './state.mjs';

const named = (pairs) => Object.fromEntries(pairs.map(({ name, value }) => [name, value]));

export function startWithFiles(job, secretFiles) {
  const running = call('`commands`');
  if (running.job) throw refused('invalid', 'a call starts one program, and this one has started one');
  for (const { value: name } of [...job.secrets, ...secretFiles]) {
    if (running.secrets[name] === undefined) {
      throw refused('denied', `no grant allows the secret \`${name}\`; give it to the test as \`secrets: { '${name}': '…' }\``);
    }
  }
  running.job = { ...job, environment: named(job.environment), secrets: named(job.secrets), secretFiles: named(secretFiles) };
}

export const start = (job) => startWithFiles(job, []);
export const ended = () => call('`commands`').ended;
export const declaredSecrets = () => Object.entries(call('`commands`').declaredSecrets).map(([name, value]) => ({ name, value }));
