/** Where an error comes from, in the author's own files: the bundler leaves its source map for it. */

import { hint } from './missing.js';

/** Under it is the source map, as a text: it is read only when something went wrong. */
export const MAP = Symbol.for('pipewright.map');
const FRAMES_MAX = 16;
const CAUSES_MAX = 8;
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
/** The layer's own files say nothing to an author. */
const LAYER = /(^|\/)(pipewright\/javascript|node_modules\/pipewright-sdk)\//;

/** `{ message, text }`: one line with the place, and all there is for the log. */
export function described(error) {
  if (!(error instanceof Error)) return { message: String(error), text: `thrown: ${String(error)}` };
  const frames = framesOf(error);
  const [first] = frames;
  const message = `${error.name}: ${error.message}${hint(error)}`;
  const lines = [message, ...frames.map(({ name, place }) => `    at ${name ? `${name} (${place})` : place}`)];
  if (first?.source !== undefined) lines.splice(2, 0, `        ${first.source}`, `        ${' '.repeat(first.indent)}^`);
  // Under Node.js, in tests, the stack is its own.
  if (frames.length === 0 && error.stack && !error.stack.includes('@')) lines.splice(0, 1, error.stack);
  let { cause } = error;
  for (let depth = 0; cause instanceof Error && depth < CAUSES_MAX; depth += 1, cause = cause.cause) {
    const [from] = framesOf(cause);
    lines.push(`caused by ${cause.name}: ${cause.message}${from ? ` (${from.place})` : ''}`);
  }
  return { message: first ? `${message} (${first.place})` : message, text: lines.join('\n') };
}

/** The calls of the author's own that led to an error, the innermost first. */
function framesOf(error) {
  if (!globalThis[MAP] || !error.stack) return [];
  const find = reader(JSON.parse(globalThis[MAP]));
  const frames = [];
  for (const line of error.stack.split('\n')) {
    const [, name, row, column] = /^(.*)@.*bundle\.mjs:(\d+):(\d+)$/.exec(line.trim()) ?? [];
    const found = row && find(Number(row), Number(column) - 1);
    if (!found || LAYER.test(found.file)) continue;
    const place = `${found.file}:${found.line}:${found.column + 1}`;
    if (frames.at(-1)?.place === place) continue;
    frames.push({ ...found, place, name: name.replace(/^.*\*/, '').replaceAll(/\/?<|\/$/g, '') });
    if (frames.length === FRAMES_MAX) break;
  }
  return frames;
}

/** What finds, for a line from 1 on and a column from 0 on of the bundle, where that comes from. */
export function reader({ mappings, sources, sourcesContent }) {
  const rows = decoded(mappings);
  return (row, column) => {
    const segment = (rows[row - 1] ?? []).findLast(([from]) => from <= column);
    if (!segment) return undefined;
    const [, source, line, at] = segment;
    const text = sourcesContent?.[source]?.split('\n')[line];
    const shown = text?.trimStart();
    return { file: sources[source], line: line + 1, column: at, source: shown, indent: text && Math.max(0, at - (text.length - shown.length)) };
  };
}

/** Source maps, version 3 (ECMA-426): for each line of the bundle `[column, source, line, column]`. */
function decoded(mappings) {
  const at = [0, 0, 0];
  return mappings.split(';').map((row) => {
    let column = 0;
    const segments = [];
    for (const segment of row.split(',')) {
      const [columns, ...rest] = numbers(segment);
      if (columns === undefined) continue;
      column += columns;
      if (rest.length < 3) continue;
      for (let index = 0; index < 3; index += 1) at[index] += rest[index];
      segments.push([column, ...at]);
    }
    return segments;
  });
}

/** Variable-length numbers in base 64: five bits a digit, the sign in the lowest. */
function numbers(text) {
  const found = [];
  let [value, shift] = [0, 0];
  for (const digit of text) {
    const bits = DIGITS.indexOf(digit);
    value |= (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    found.push(value & 1 ? -(value >>> 1) : value >>> 1);
    [value, shift] = [0, 0];
  }
  return found;
}
