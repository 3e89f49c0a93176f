/** Deploys through a service's HTTP API. */

import { Failure, Wait, ask, defineAction, definePlugin, files, http, secrets } from '../pipewright/javascript/pipewright.js';

const deployFiles = defineAction({
  provider: '{{provider}}',
  documentation: 'Tells a service which files to deploy, and waits until it has.',
  inputs: 1,
  settings: {
    url: { documentation: 'Where deployments are made, like `https://api.example.com/deployments`.' },
    token: { default: 'token', documentation: "The name of the secret with the service's token." },
  },
  variables: { DeploymentId: "The service's id of the deployment." },

  run(action, settings) {
    if (!/^https?:\/\//.test(settings.url)) {
      throw Failure.configuration("`Url` must begin with https:// or http://; correct it in the action's configuration");
    }
    const { id, status, url } = action.resumed
      ? call(action, settings, 'GET', `${settings.url}/${action.resumed.continuation.id}`)
      : call(action, settings, 'POST', settings.url, { files: digests(action.input) });
    if (status === 'running') {
      return new Wait({ seconds: 10, continuation: { id }, summary: 'the service is deploying' });
    }
    if (status !== 'done') throw new Failure(`the deployment ${id} is ${status}`);
    return {
      summary: `deployed as ${id}`,
      externalId: id,
      variables: { DeploymentId: id },
      links: [{ title: 'Deployment', url }],
      targets: [{ id: url, kind: 'service', url }],
    };
  },
});

function digests(folder) {
  const entries = files.list(folder).filter((entry) => entry.kind === 'file');
  return Object.fromEntries(entries.map(({ path }) => [path, files.digest(`${folder}/${path}`)]));
}

/** One request; a second attempt at the action has the same key, so that the service deploys once. */
function call(action, settings, method, url, json) {
  const headers = {
    authorization: `Bearer ${secrets.standIn(settings.token)}`,
    'idempotency-key': action.idempotencyKey,
  };
  return http.fetch(url, { method, headers, json }).succeeded().json();
}

export const { plugin, deploy } = definePlugin({
  name: '{{plugin}}',
  version: '0.1.0',
  documentation: '{{description}}',
  asks: [
    ask('http', { name: '*', reason: 'to call the service at `Url`' }),
    ask('secret', { name: 'Token', reason: 'to sign in there' }),
  ],
  deploy: [deployFiles],
});
