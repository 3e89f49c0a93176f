import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page } from '../build.js';

test('the first line is the title', () => {
  assert.match(page('Home\n\nWelcome.\n'), /<title>Home<\/title>\n<h1>Home<\/h1>\n<p>Welcome\.<\/p>/);
});

test('markup of a text is text', () => {
  assert.match(page('a < b & c'), /<h1>a &lt; b &amp; c<\/h1>/);
});
