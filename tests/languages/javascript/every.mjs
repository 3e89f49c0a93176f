/** One plugin of several: each part is a module that `definePlugin` made, and serves its own action types. */

import * as all from './parts.mjs';

const parts = Object.values(all).map((module) => ({ module, description: module.plugin.describe() }));

/** The part that offers what a request is for. */
function serving({ actionType: { category, provider } }) {
  const isIt = ({ id }) => id.category === category && id.provider === provider;
  return parts.find(({ description }) => description.actionTypes.some(isIt)).module[category];
}

export const plugin = {
  describe: () => ({
    name: 'acme/all',
    version: '0.1.0',
    documentation: '',
    actionTypes: parts.flatMap(({ description }) => description.actionTypes),
    asks: parts.flatMap(({ description }) => description.asks),
    mayRunAgain: true,
  }),
};

const run = { run: (request) => serving(request).run(request) };
export const [build, test, deploy, approval, invoke, rule] = [run, run, run, run, run, run];
export const source = {
  latest: (request) => serving(request).latest(request),
  fetch: (request, revision) => serving(request).fetch(request, revision),
};
