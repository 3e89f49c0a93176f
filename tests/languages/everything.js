/** Uses all of the JavaScript layer; `everything.py` does the same, and the same cases hold for both. */

import { Failure, Wait, ask, caches, definePlugin, files, http, log, secrets, tools } from '../pipewright/javascript/pipewright.js';

const DEEDS = ['settings', 'files', 'secrets', 'directory', 'http', 'caches', 'tools', 'crash', 'wait', 'fail'];

/** As Python says it. */
const said = (value) => (value ? 'True' : 'False');

const everything = {
  provider: 'Everything',
  documentation: 'Does what it is asked to.',
  inputs: [0, 1],
  outputs: [0, 1],
  settings: {
    deed: { choices: DEEDS, documentation: 'What it does.' },
    text: { optional: true, documentation: 'A text.' },
    whole: { type: 'integer', default: 7, documentation: 'A whole number.' },
    real: { type: 'number', optional: true, documentation: 'A number.' },
    switch: { type: 'boolean', default: false, documentation: 'A switch.' },
    names: { type: 'list', default: ['a'], name: 'NameList', documentation: 'Texts.' },
    hidden: { type: 'integer', optional: true, secret: true, documentation: 'A number that is not to be seen.' },
  },
  variables: { Answer: 'A variable.' },

  run(action, settings) {
    switch (settings.deed) {
      case 'settings': {
        const { text, whole, real, names, hidden } = settings;
        log.info(JSON.stringify([text, whole, real, settings.switch, names, hidden]).replaceAll(',', ', '));
        break;
      }
      case 'files':
        doFiles(action);
        break;
      case 'secrets':
        log.info(said(secrets.basic('user', 'token') !== secrets.standIn('token')));
        log.info(said(secrets.reveal('shown') !== ''));
        secrets.standIn('other');
        break;
      case 'directory':
        log.info(action.directory('shelf'));
        action.directory('../shelf');
        break;
      case 'http': {
        const options = { method: 'PUT', headers: { 'X-One': '1' }, body: 'text' };
        const response = http.fetch('https://example.com/a?b=c', options);
        log.info(`${response.status} ${said(response.ok)} ${response.headers.get('x-two')} ${response.text()}`);
        try {
          http.fetch('https://example.com/refused').succeeded();
        } catch (failure) {
          log.info(failure.message);
        }
        http.fetch('https://example.com/broken');
        break;
      }
      case 'caches':
        doCaches(action);
        break;
      case 'tools':
        doTools(action);
        break;
      case 'crash':
        return null.length;
      case 'fail':
        throw Failure.systemUnavailable('not today');
      case 'wait': {
        if (!action.resumed) return new Wait({ signal: 'approval', continuation: { kept: [1, 2] } });
        const { continuation, signal } = action.resumed;
        log.info(`${continuation.kept[1]} ${signal.kind} ${new TextDecoder().decode(signal.payload)}`);
      }
    }
    return {
      summary: 'done',
      variables: { Answer: true, 'Left out': undefined, Number: 1.5 },
      links: [{ title: 'Example', url: 'https://example.com/' }],
      externalId: 'id-1',
    };
  },
};

function doFiles({ scratch, output }) {
  const folder = `${scratch}/folder`;
  files.write(`${folder}/run.sh`, '#!/bin/sh\n');
  files.setExecutable(`${folder}/run.sh`);
  files.link(`${folder}/link`, 'run.sh');
  files.write(`${folder}/left-out`, new Uint8Array(200_000));
  log.info(`${files.read(`${folder}/left-out`).length} '${files.readText(`${folder}/run.sh`).replace('\n', '\\n')}'`);
  const copied = files.copy(folder, `${output}/copy`, ['left-out']);
  log.info(`copied ${copied.files} ${copied.bytes}`);
  files.zip(`${output}/copy`, `${scratch}/packed.zip`);
  files.unzip(`${scratch}/packed.zip`, `${output}/unpacked`);
  for (const { kind, path, executable, target = 'none' } of files.list(`${output}/unpacked`)) {
    log.info(`${kind} ${path} ${executable} ${target}`);
  }
  log.info(files.digest(`${output}/unpacked/run.sh`));
  files.read(`${scratch}/nowhere`);
}

function doCaches({ scratch }) {
  log.info(said(caches.isGranted()));
  log.info(said(caches.restore('none', 'kept') === undefined));
  const { key, digest } = caches.restore('index-3', 'kept', { fallbackKeys: ['other-', 'index-'] });
  log.info(`${key} ${said(digest !== '')} ${files.readText(`${scratch}/kept/note.txt`)}`);
  caches.save('index-3', 'kept');
  caches.save('index-4', 'nowhere');
}

function doTools({ input, output }) {
  const tool = `${input}/tool.wasm`;
  const words = ['variable', 'LEVEL', 'none', 'copy', tool, `${output}/copied`];
  const status = tools.run(tool, words, { environment: { LEVEL: 'high' } });
  log.info(`status ${status}, copied ${said(files.digest(`${output}/copied`) === files.digest(tool))}`);
  log.info(`status ${tools.run(tool, ['exit'], { digest: files.digest(tool) })}`);
  try {
    tools.run(tool, ['panic', 'in the tool']);
  } catch (failure) {
    log.info(`${failure.kind === 'job-failed' ? 'JobFailed' : failure.kind} ${failure.message}`);
  }
  tools.run(tool, [], { digest: '0'.repeat(64) });
}

export const { plugin, build } = definePlugin({
  name: 'tests/everything',
  version: '1.0.0',
  asks: [
    ask('http', { name: 'example.com', reason: 'to ask it' }),
    ask('secret', { name: 'token', reason: 'to sign in' }),
    ask('reveal-secret', { name: 'shown', reason: 'to read it' }),
    ask('read-directory', { name: 'shelf', reason: 'to look into it' }),
    ask('clock', { reason: 'to know the time' }),
    ask('caches', { reason: 'to keep what was made' }),
  ],
  mayRunAgain: false,
  build: [everything],
});
