/** Checks that no file contains a word. */

import { defineAction, definePlugin, files } from '../pipewright/javascript/pipewright.js';

const checkWord = defineAction({
  provider: '{{provider}}',
  documentation: 'Checks that no file contains a word.',
  inputs: 1,
  settings: { word: { default: 'lorem ipsum', documentation: 'What no file may contain.' } },

  run(action, settings) {
    const cases = files
      .list(action.input)
      .filter((entry) => entry.kind === 'file')
      .map(({ path }) => check(path, files.read(`${action.input}/${path}`), settings.word));
    return { summary: `${cases.length} files`, cases };
  },
});

function check(path, bytes, word) {
  // What is no text has no words: what cannot be decoded is replaced.
  const lines = new TextDecoder().decode(bytes).split('\n');
  const line = lines.findIndex((text) => text.includes(word));
  if (line === -1) return { name: path, status: 'passed' };
  return { name: path, status: 'failed', message: `contains \`${word}\``, file: path, line: line + 1 };
}

export const { plugin, test } = definePlugin({
  name: '{{plugin}}',
  version: '0.1.0',
  documentation: '{{description}}',
  test: [checkWord],
});
