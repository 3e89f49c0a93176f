/**
 * A stand-in of the host, so that `node --test` runs a plugin's actions without WebAssembly, in a few milliseconds. The words are those
 * of cases (`case.toml`), which run in the real sandbox; where both differ, the sandbox is right.
 *
 *     import assert from 'node:assert/strict';
 *     import { test } from 'node:test';
 *
 *     import { run } from '../pipewright/javascript/testing.mjs';
 *     import * as plugin from '../src/plugin.js';
 *
 *     test('lists files', async () => {
 *       const given = { action: 'Build/Custom/Index/1', inputs: { Source: { 'a.txt': 'one' } }, outputs: ['Index'] };
 *       const { outcome, outputs } = await run(plugin, given);
 *       assert.equal(outcome, 'succeeded');
 *       assert.match(outputs.Index['files.json'], /a\.txt/);
 *     });
 *
 * Run them by `node --import ./pipewright/javascript/testing.mjs --test test/plugin.test.mjs`, as `npm test` does: this module teaches
 * Node.js (20.6 or newer) the host's interfaces, and TypeScript. Beyond it nothing is sandboxed: what Node.js has, a test has.
 */

/** The files of a folder by path: texts, or bytes. */
export type Folder = Readonly<Record<string, string | Uint8Array>>;

/** A request that must be the next one, and what comes of it. */
export interface Answered {
  /** Method and URL, as in `POST https://example.com/jobs`. */
  request: string;
  /** What it must have besides; the values of secrets are in the place of their stand-ins. */
  with?: { headers?: Readonly<Record<string, string>>; body?: string; json?: unknown };
  /** Default 200. */
  status?: number;
  headers?: Readonly<Record<string, string>>;
  body?: string;
  json?: unknown;
  /** Instead of an answer: an error code of wasi:http, such as `connection-refused`. */
  error?: string;
}

/** What an action is given. */
export interface Given {
  /** CATEGORY/OWNER/PROVIDER/VERSION, as in `actionTypeId`. */
  action: string;
  /** Sources only; default `'fetch'`. */
  call?: 'latest' | 'fetch';
  /** Sources only: the revision to fetch; default: the newest. */
  revision?: string;
  /** As in `configuration`: all values are texts. */
  settings?: Readonly<Record<string, string>>;
  /** The input artifacts. */
  inputs?: Readonly<Record<string, Folder>>;
  /** The names of the output artifacts. */
  outputs?: readonly string[];
  /** The granted directories. */
  directories?: Readonly<Record<string, Folder>>;
  /** The granted secrets. */
  secrets?: Readonly<Record<string, string | { value: string; reveal?: boolean }>>;
  /** The answers to all requests, in order; one that is not asked for is a difference. Without it no request is granted. */
  http?: readonly Answered[];
  /** What earlier executions kept, by key, the last one used last. Without it caches are not granted. */
  caches?: Readonly<Record<string, Folder>>;
  /** The statuses that tools end with, each once; none is really run. */
  tools?: readonly number[];
  commands?: readonly string[];
  environment?: Readonly<Record<string, string>>;
  /** Of the declaration's environment what is secret: variables, each with the name of a secret. */
  'secret-environment'?: Readonly<Record<string, string>>;
  'output-variables'?: readonly string[];
  /** Default `'case'`. */
  'idempotency-key'?: string;
  /** Default 1. */
  attempt?: number;
  /** Who is called, as in `[names]` of a case. */
  names?: Readonly<
    Partial<Record<'account' | 'region' | 'pipeline' | 'execution' | 'stage' | 'action' | 'action-execution', string>>
  >;
  /**
   * When the call starts, in milliseconds since 1970-01-01 UTC; default 1,700,000,000,000, or with `wake` the time that was waited for.
   * Only the plugin's own timers move the clock.
   */
  time?: number;
  /** What a call before it gave, which was waiting; with `signal`, `wake` or `ended`. */
  after?: Result;
  signal?: { kind: string; payload?: string };
  wake?: 'time';
  /** The program that the call before it started has ended; `scratch` is what is there then. */
  ended?: { status: number; signal?: number; limit?: string; tail?: string; scratch?: Folder };
}

/** What came of it. */
export interface Result {
  outcome: 'succeeded' | 'rejected' | 'failed' | 'waiting';
  failure?: { kind: string; message: string };
  summary?: string;
  'external-id'?: string;
  variables?: Record<string, string>;
  links?: { title: string; url: string }[];
  /** Of sources; `false`: there is none. */
  revision?: false | { id: string; summary?: string; url?: string; created?: number };
  targets?: { id: string; kind: string; status: string; url?: string }[];
  cases?: { name: string; status: string; message?: string; file?: string; line?: number }[];
  counts?: { passed: number; failed: number; skipped: number };
  waiting?: { signal?: string; until?: number };
  continuation?: any;
  /** The program that the action started, which does not run; in `secrets` and `secretFiles` are the names of secrets. */
  job?: {
    arguments: string[];
    directory: string;
    environment: Record<string, string>;
    secrets: Record<string, string>;
    secretFiles: Record<string, string>;
    network: boolean;
    image?: string;
    wallSeconds?: number;
  };
  /** What is to be kept if the action succeeds: directories below the scratch, by key. */
  savedCaches: Record<string, string>;
  /** The tools that the action ran. */
  tools: { component: string; digest?: string; arguments: string[]; environment: Record<string, string>; network: boolean }[];
  /** All lines of the log. */
  log: string;
  progress: { percent?: number; summary: string }[];
  /** What was reported of tests and coverage, by name. */
  results: Record<string, any>;
  /** What was requested, with the values of secrets. */
  requests: { request: string; headers: Record<string, string>; body: string }[];
  /** The files of each output artifact by path, as texts. */
  outputs: Record<string, Record<string, string>>;
  /** The same of each granted directory. */
  'directories-after': Record<string, Record<string, string>>;
}

/**
 * Runs one action of a plugin's module; one at a time. Rejects where the test itself is at fault: a request that is not the next one of
 * `http`, or one that was not made.
 */
export function run(plugin: object, given: Given): Promise<Result>;
