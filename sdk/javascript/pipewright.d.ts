/**
 * Write Pipewright plugins in JavaScript and TypeScript.
 *
 * An action is an object: what it is called, which settings it takes, and a function that runs it. What a plugin says of itself
 * is made of the same objects.
 *
 *     import { Failure, defineAction, definePlugin, files, log } from '../pipewright/javascript/pipewright.js';
 *
 *     const count = defineAction({
 *       provider: 'Count',
 *       documentation: 'Counts files by their ending.',
 *       inputs: 1,
 *       settings: {
 *         ending: { documentation: 'The ending of the files that count.', default: '.md' },
 *         atLeast: { type: 'integer', optional: true, documentation: 'How many there must be at least.' },
 *       },
 *       variables: { Files: 'How many files there were.' },
 *       run(action, settings) {
 *         const found = files.list(action.input).filter((entry) => entry.path.endsWith(settings.ending));
 *         if (found.length < (settings.atLeast ?? 0)) {
 *           throw new Failure(`only ${found.length} files end in ${settings.ending}`);
 *         }
 *         log.info(`counted ${found.length} files`);
 *         return { summary: `${found.length} files`, variables: { Files: found.length } };
 *       },
 *     });
 *
 *     export const { plugin, build } = definePlugin({
 *       name: 'example/count',
 *       version: '0.1.0',
 *       documentation: 'Counts files.',
 *       build: [count],
 *     });
 *
 * In CodePipeline's configuration these settings are `Ending` and `AtLeast`. A plugin sees its artifacts as folders
 * (`/inputs/NAME`, `/outputs/NAME`), folders that the operator granted (`/directories/NAME`), and nothing else.
 *
 * `run` may be async: `fetch`, `setTimeout`, `setInterval`, `queueMicrotask` and promises work while it runs, and what it leaves
 * behind is waited for. A rejection that nobody waits for fails the action, and so do an interval that is not cleared and a promise
 * that nothing can settle any more. `files`, `secrets` and most of `http` are synchronous. Of the web's globals there are besides:
 * `URL`, `TextEncoder` and `TextDecoder`, `structuredClone`, `crypto`, `ReadableStream` and its kin, `Blob`, `FormData`, `Headers`,
 * `Request`, `Response`, `AbortController`, `console` (which writes into the log). There is nothing of Node.js; packages of npm are
 * bundled, as long as they need nothing of it.
 *
 * Where the plugin says `Intl`, or gives `toLocaleString` and its kin a language or options, the build bundles FormatJS for it, a polyfill
 * of npm: all of `Intl` but `Collator` and `supportedValuesOf`, every time zone, English, and each language that the plugin's own files
 * have as a text, like `'de'`, `'fr-CA'`. A list in package.json, `"pipewright": { "world": "…", "locales": ["de", "fr-CA"] }`, takes the place
 * of what the files say. A language that is not in the component is a `RangeError`, and so is a time zone that there is not.
 */

// -- declarations ------------------------------------------------------------------------------------------------------------

/** A setting of an action. In CodePipeline's configuration `atLeast` is `AtLeast`, and all values are texts. */
export interface Setting {
  /**
   * What it is: a text (the default), a whole number of at most 15 digits, a number, `true` or `false`, or a JSON array of texts.
   * A value that is something else fails the action with *configuration* before `run` is called.
   */
  type?: 'text' | 'integer' | 'number' | 'boolean' | 'list';
  /** What its users read. */
  documentation?: string;
  /** What it is where the configuration does not say. */
  default?: string | number | boolean | readonly string[];
  /** It may be left out, and is `undefined` then. Without this and a default it must be given. */
  optional?: boolean;
  /** The host masks it wherever it is read back. */
  secret?: boolean;
  /** The only values allowed. */
  choices?: readonly string[];
  /** Its name in the configuration, where that is not the property's with a capital. */
  name?: string;
}

type SettingValue<S> = S extends { type: 'integer' | 'number' }
  ? number
  : S extends { type: 'boolean' }
    ? boolean
    : S extends { type: 'list' }
      ? string[]
      : S extends { choices: readonly (infer Choice)[] }
        ? Choice
        : string;

/** The settings of one run, as `D` declares them: `{ type: 'integer', optional: true }` is `number | undefined`. */
export type Settings<D> = {
  readonly [K in keyof D]: D[K] extends { optional: true } ? SettingValue<D[K]> | undefined : SettingValue<D[K]>;
};

/** How many artifacts: so many, or from so many to so many. */
export type Count = number | readonly [least: number, most: number];

/** What every action says of itself. */
export interface ActionDefinition<D, R> {
  /** Its name in `actionTypeId`. */
  provider: string;
  /** Default `'Custom'`. */
  owner?: 'Custom' | 'AWS' | 'ThirdParty';
  /** Default `'1'`. */
  version?: string;
  /** What its users read. */
  documentation?: string;
  /** How many input artifacts it takes; default 0. */
  inputs?: Count;
  /** How many output artifacts it makes; default 0. */
  outputs?: Count;
  settings?: D;
  /** The output variables, with what they mean. */
  variables?: Readonly<Record<string, string>>;
  /**
   * Runs it, and returns the outcome of its category, or a {@link Wait}. A {@link Failure} that it throws fails the action with its
   * message; any other error does so too, and the log says where it comes from.
   */
  run(action: Action, settings: Settings<D>): R | Wait | Promise<R | Wait>;
}

/** What a source says of itself. */
export interface SourceDefinition<D, R> extends ActionDefinition<D, R> {
  /**
   * The newest revision, without fetching it; `undefined` where there is none. The host asks from time to time, and starts the pipeline
   * when it is new.
   */
  latest(action: Action, settings: Settings<D>): Latest;
}

/** Any outcome. */
export type Outcome = Report | Fetched | Tested | Deployed | Decision | Verdict;

/** What is new, in a source. */
type Latest = Revision | undefined | Wait | Promise<Revision | undefined | Wait>;

/**
 * The same object; an editor knows the types of its settings by it, and which outcome it has. Of what is mistaken the outcome is
 * anything, so that the compiler tells the mistake, and nothing that comes of it.
 */
export function defineAction<const D extends Record<string, Setting>, const R extends Outcome, L extends Latest = never>(
  action: ActionDefinition<D, R> & { latest?(action: Action, settings: Settings<D>): L },
): ActionDefinition<D, [Outcome] extends [R] ? any : R> &
  ([L] extends [never] ? unknown : { latest(action: Action, settings: Settings<D>): L });

/** What a plugin says of itself, and its actions by category. */
export interface PluginDefinition {
  /** `team/name`. */
  name: string;
  /** A semantic version, the same as in package.json. */
  version: string;
  documentation?: string;
  /** What it wants the operator to grant. What it does not ask for, no grant allows. */
  asks?: readonly Ask[];
  /** With `false` an action that a crash of the host interrupted fails, instead of running again. Default `true`. */
  mayRunAgain?: boolean;
  source?: readonly SourceDefinition<any, Fetched>[];
  build?: readonly ActionDefinition<any, Report>[];
  test?: readonly ActionDefinition<any, Tested>[];
  deploy?: readonly ActionDefinition<any, Deployed>[];
  approval?: readonly ActionDefinition<any, Decision>[];
  invoke?: readonly ActionDefinition<any, Report>[];
  rule?: readonly ActionDefinition<any, Verdict>[];
}

type Category = 'source' | 'build' | 'test' | 'deploy' | 'approval' | 'invoke' | 'rule';

/** What the host calls; not for authors. */
export type Served = Readonly<Record<string, (...values: any[]) => Promise<unknown>>>;

/**
 * Makes the exports of a plugin's module: `plugin`, and one for each category that it offers. Throws a `TypeError` for a mistake in
 * what is declared, while the module is loaded, so that it shows when the plugin is checked or built.
 */
export function definePlugin<P extends PluginDefinition>(
  definition: P,
): { plugin: { describe(): unknown } } & { [K in keyof P & Category]: Served };

/** See {@link ask}. */
export interface Ask {
  readonly capability: unknown;
  readonly reason: string;
}

/**
 * What the plugin wants the operator to grant, and why.
 *
 * `http` (a host, as `name`, `name:port`, or `*` where the action's settings say which), `read-directory`, `write-directory`,
 * `secret` and `reveal-secret` (each with its name, or the name of the setting that names it).
 */
export function ask(
  capability: 'http' | 'read-directory' | 'write-directory' | 'secret' | 'reveal-secret',
  options: { name: string; reason: string },
): Ask;
/**
 * `clock`: the time of day; without it, it stands still at the start of the call. `randomness`: without it, what looks random derives
 * from the idempotency key. `commands`: programs, by {@link commands}. `caches`: directories that are kept for later executions, by
 * {@link caches}.
 */
export function ask(capability: 'clock' | 'randomness' | 'commands' | 'caches', options: { reason: string }): Ask;

// -- the running action ------------------------------------------------------------------------------------------------------

/** One run of one action. */
export interface Action {
  readonly context: {
    readonly account: string;
    readonly region: string;
    readonly pipeline: string;
    readonly executionId: string;
    readonly stage: string;
    readonly action: string;
    readonly actionExecutionId: string;
  };
  readonly actionType: { readonly category: string; readonly owner: string; readonly provider: string; readonly version: string };
  /** The same for every attempt at this action execution: give it to outside systems, so that a second attempt does nothing twice. */
  readonly idempotencyKey: string;
  /** 1 at first; more when the host died while the action ran, and runs it again. */
  readonly attempt: number;
  /** The revision that a source is to fetch; `undefined` for the newest one. */
  readonly revision: string | undefined;
  /** The declaration's `commands`. */
  readonly commands: readonly string[];
  /** The declaration's `environmentVariables`, by name. */
  readonly environment: ReadonlyMap<string, string>;
  /** The variables that the declaration wants from this action; empty where it does not say. */
  readonly outputVariables: readonly string[];
  /** The folders of the input artifacts by name, in the declaration's order; they are read-only. */
  readonly inputs: ReadonlyMap<string, string>;
  /** The folder of the first input artifact. Fails with *configuration* where there is none. */
  readonly input: string;
  /** The folders of the output artifacts to make by name, in the declaration's order; they are empty at the start. */
  readonly outputs: ReadonlyMap<string, string>;
  /** The folder of the first output artifact. Fails with *configuration* where there is none. */
  readonly output: string;
  /** For each output artifact the declaration's file patterns; empty where it has none. */
  readonly outputFiles: ReadonlyMap<string, readonly string[]>;
  /** A private folder, empty at the start and gone after the call. */
  readonly scratch: string;
  /** What the action left when it answered *waiting*, and why it is called again; `undefined` on the first call. */
  readonly resumed: Resumed | undefined;
  /**
   * A folder of the host that the operator granted under this name, which often comes from a setting. Fails with *configuration* where
   * the name cannot be one, and with *permission* where nothing is granted under it.
   */
  directory(name: string): string;
}

export interface Resumed {
  /** The `continuation` of the {@link Wait}, after JSON. */
  readonly continuation: any;
  /** What ended the wait; `undefined` where the time came. An approval's payload is `{"status":"Approved|Rejected","summary":"…","by":"…"}`. */
  readonly signal: { readonly kind: string; readonly payload: Uint8Array } | undefined;
}

// -- outcomes ----------------------------------------------------------------------------------------------------------------

/** What builds, invocations, sources, tests and deployments tell. */
export interface Told {
  /** One line for a person; at most 2,048 bytes. */
  summary?: string;
  /** Output variables; together at most 122,880 bytes. One that is `undefined` or `null` is left out; a list becomes JSON. */
  variables?: Readonly<Record<string, string | number | boolean | readonly string[] | null | undefined>>;
  /** For a person; `url` begins with http:// or https://. */
  links?: readonly { title: string; url: string }[];
  /** The id that an outside system gave to this run. */
  externalId?: string;
}

/** What a build or an invocation returns. */
export interface Report extends Told {
  revision?: never;
  cases?: never;
  targets?: never;
}

/** What a source returns. */
export interface Fetched extends Told {
  /** What was fetched. */
  revision?: Revision;
  cases?: never;
  targets?: never;
}

export interface Revision {
  /** E.g. a commit id. */
  id: string;
  summary?: string;
  url?: string;
  /** Milliseconds since 1970-01-01 UTC, or a `Date`. */
  created?: number | Date;
}

/** What a test returns. One failed case fails the action. */
export interface Tested extends Told {
  /** At most 10,000. */
  cases: readonly TestCase[];
}

export interface TestCase {
  name: string;
  status: 'passed' | 'failed' | 'skipped';
  message?: string;
  /** Where to look, in the input artifact. */
  file?: string;
  /** From 1 on; only with `file`. */
  line?: number;
}

/** What a deployment returns. */
export interface Deployed extends Told {
  /** Where it went. */
  targets?: readonly Target[];
  revision?: never;
  cases?: never;
}

export interface Target {
  id: string;
  /** What it is, in one word of the plugin's own. */
  kind: string;
  /** Default `'succeeded'`. */
  status?: 'succeeded' | 'failed' | 'skipped';
  url?: string;
}

/** What an approval returns. */
export interface Decision {
  approved: boolean;
  /** For a person. */
  summary?: string;
}

/** What a rule returns. */
export interface Verdict {
  passed: boolean;
  /** Why not, for a person. */
  reason?: string;
}

/**
 * Asks to be called again, after a time or on a signal, whichever comes first; return it in the place of an outcome. It costs the host
 * nothing; nothing of the plugin survives but the continuation.
 */
export class Wait {
  constructor(wait: {
    /** From now on; the plugin needs no clock for it. */
    seconds?: number;
    /** Milliseconds since 1970-01-01 UTC, instead of `seconds`. */
    until?: number;
    /** The kind of signal that ends the wait, e.g. `approval`. */
    signal?: string;
    /** What `action.resumed` hands back; at most 16 KiB (16,384 bytes) as JSON. */
    continuation?: unknown;
    /** For a person who looks at the pipeline meanwhile. */
    summary?: string;
  });
  // Or any object would be one to the compiler.
  private readonly signal: string | undefined;
}

/** CodePipeline's failure types. */
export type FailureKind =
  'job-failed' | 'configuration-error' | 'permission-error' | 'revision-out-of-sync' | 'revision-unavailable' | 'system-unavailable';

/**
 * Throw it to fail the action. The message says what is wrong, where, and how to mend it; at most 16 KiB.
 *
 * `new Failure(…)` is for work that failed: a compiler, a page that does not parse. The others are for what the declaration, a grant or
 * an outside system did.
 */
export class Failure extends Error {
  /** `cause` is told in the log. */
  constructor(message: string, kind?: FailureKind, options?: { cause?: unknown });
  readonly kind: FailureKind;
  /** The pipeline's declaration asks for something impossible; name the setting and how to mend it. */
  static configuration(message: string): Failure;
  /** A grant or an outside system refused. */
  static permission(message: string): Failure;
  /** The revision that a source was asked for is not to be had (any more). */
  static revisionUnavailable(message: string): Failure;
  /** An outside system cannot be reached just now. */
  static systemUnavailable(message: string): Failure;
}

// -- what the host does ------------------------------------------------------------------------------------------------------

/**
 * Files: reading, writing, and what the host does better than a plugin can: digests, copies, archives, executable bits and checked
 * links. Paths are texts like `/inputs/Source/index.html`. All of it is synchronous. What the host refuses is a {@link Failure}:
 * *permission* where no grant allows it, and a failed job where there is no such file, the place is full or the disk is at fault.
 */
export namespace files {
  interface Entry {
    /** Below the listed folder, separated by `/`. */
    readonly path: string;
    readonly kind: 'file' | 'directory' | 'link';
    /** In bytes. */
    readonly size: number;
    readonly executable: boolean;
    /** Where a link points. */
    readonly target?: string;
  }
  /**
   * Everything below a folder, in the order of the bytes of the path. Leaves out what lies under one of `except`, paths below the
   * listed one.
   */
  function list(path: string, except?: readonly string[]): Entry[];
  /** A whole file of at most `bytesMax` bytes (default 268,435,456, 256 MiB); a larger one is a failure. */
  function read(path: string, options?: { bytesMax?: number }): Uint8Array;
  /** The same, which must be UTF-8. */
  function readText(path: string, options?: { bytesMax?: number }): string;
  /** The chunks of a file of any size, one after the other. */
  function chunks(path: string): Iterable<Uint8Array>;
  /** Makes or replaces a file, and the folders above it: of a text, of bytes, or of what is iterated for them, like `files.chunks`. */
  function write(path: string, data: string | Uint8Array | Iterable<string | Uint8Array>, options?: { executable?: boolean }): void;
  /** Makes or replaces a file that is written piece by piece, e.g. of what comes asynchronously; `close` it at the end. */
  function create(path: string, options?: { executable?: boolean }): { write(data: string | Uint8Array): void; close(): void };
  /** The SHA-256 of a file, in lower-case hexadecimal. */
  function digest(path: string): string;
  /** Copies a file or a whole folder, with executable bits and links; `except` as in `list`. */
  function copy(source: string, destination: string, except?: readonly string[]): { files: number; bytes: number };
  function setExecutable(path: string, executable?: boolean): void;
  /**
   * Makes a symbolic link, or replaces one atomically. The target is relative, and stays inside of the artifact or granted folder in
   * which the link lies.
   */
  function link(path: string, target: string): void;
  /** Makes durable what was written below a path: after it, a power cut loses nothing of it. */
  function sync(path: string): void;
  /** Packs a folder into a zip file, reproducibly. */
  function zip(source: string, destination: string): { files: number; bytes: number };
  /** Unpacks a zip file into a folder; refuses entries that would lie outside of it. */
  function unzip(source: string, destination: string): { files: number; bytes: number };
}

/**
 * Requests to hosts that the operator granted. A header value may hold a secret's stand-in; see {@link secrets}. Redirects are not
 * followed: each would be a request of its own, to a host that may not be granted.
 *
 *     const token = secrets.standIn('api-token');
 *     const { id } = http.fetch('https://api.example.com/v1/deployments', {
 *       method: 'POST',
 *       headers: { authorization: `Bearer ${token}` },
 *       json: { release: 7 },
 *     }).succeeded().json();
 *
 * Several at once: `await Promise.all(urls.map((url) => http.send(url)))`.
 *
 * Each fails with *configuration* for what is no URL or header, with *permission* where no grant allows it, and with *system
 * unavailable*, and the code of wasi:http, where no response comes: `connection-refused`, `HTTP-response-timeout` and others. A
 * response of any status is a response. One of 300 or more that comes before the whole body is sent ends the sending; any other is
 * handed over once the body is sent.
 */
export namespace http {
  interface Options {
    /** Default `'GET'`. */
    method?: string;
    headers?: Readonly<Record<string, string | number>>;
    /** Sent as JSON, in the place of `body`. */
    json?: unknown;
    /** A text, bytes, or what is iterated for them and sent piece by piece, like `files.chunks`. */
    body?: string | Uint8Array | Iterable<string | Uint8Array>;
    /** In seconds: until there is a connection, until the response begins, and between two pieces of its body. The host has its own too. */
    timeouts?: { connect?: number; firstByte?: number; betweenBytes?: number };
  }
  interface Whole {
    /** The largest response that is read, in bytes; a larger one is a failure. Default 16,777,216 (16 MiB). */
    bytesMax?: number;
  }
  interface Head {
    readonly url: string;
    readonly status: number;
    /** By lower-case name; several of one name are joined by commas. */
    readonly headers: ReadonlyMap<string, string>;
    /** Whether the status is 200 to 299. */
    readonly ok: boolean;
  }
  /** A whole response, whatever its status. */
  interface Response extends Head {
    /** The body. */
    readonly bytes: Uint8Array;
    /** The body as UTF-8; what is none is replaced. */
    text(): string;
    /** The body as JSON, or a failure that says what is no JSON. */
    json(): any;
    /** The response itself if its status is 200 to 299, and else a failure that says what came instead. */
    succeeded(): Response;
  }
  /** A response whose body is read piece by piece, once: iterate it. */
  interface Streamed extends Head, Iterable<Uint8Array> {
    /** The rest of it, whole. */
    read(options?: Whole): Response;
    /** Ends it where it is not read to its end. */
    close(): void;
  }
  /** Sends a request, and reads the whole response. Synchronous: nothing else happens meanwhile. */
  function fetch(url: string, options?: Options & Whole): Response;
  /** Sends a request, and hands over the response when its headers are there. Synchronous. */
  function stream(url: string, options?: Options): Streamed;
  /** As `fetch`, but other promises go on meanwhile; its body may come asynchronously. */
  function send(
    url: string,
    options?: Omit<Options, 'body'> & Whole & { body?: Options['body'] | AsyncIterable<string | Uint8Array> },
  ): Promise<Response>;
}

/** Log lines and progress of the running action. A line feed separates lines. */
export namespace log {
  /** For whoever looks for a fault. */
  function debug(message: unknown): void;
  function info(message: unknown): void;
  /** Something that a person should look at, and that does not fail the action. */
  function warn(message: unknown): void;
  /** What fails the action. */
  function error(message: unknown): void;
  /** What the action does just now, and how far it is where that is known: 0 to 100. */
  function progress(summary: string, percent?: number): void;
}

/**
 * Programs of the host's machine, run apart from it: compilers, test runners, scripts. A program runs while no call of the plugin does.
 * The action lays files into its scratch, says by `start` what is to run, and returns the {@link Wait} that it got. Once the program has
 * ended, the action is called again with its continuation and the same scratch, and `ended` says how.
 */
export namespace commands {
  interface Options {
    /** Where it begins, below the scratch. */
    directory?: string;
    environment?: Readonly<Record<string, string>>;
    /**
     * Environment variables, each with the name of a secret, which the plugin does not see: of one of the host's store also
     * `NAME:JSON-KEY:VERSION-STAGE:VERSION-ID`.
     */
    secrets?: Readonly<Record<string, string>>;
    /** The same, but the variable has the path of a file, which no other program can read, and which is gone when this one has ended. */
    secretFiles?: Readonly<Record<string, string>>;
    /** Whether it may reach the hosts that the grant names. */
    network?: boolean;
    /** One that the grant allows. */
    image?: string;
    wallSeconds?: number;
    /** These are those of the {@link Wait}. */
    continuation?: unknown;
    summary?: string;
  }
  interface Ended {
    /** What it ended with, or 128 and the number of the signal that ended it. */
    status: number;
    signal?: number;
    /** The limit that ended it, like `wall-seconds`. */
    limit?: string;
    cpuMicros: number;
    memoryBytesMax: number;
    wallMicros: number;
    /** The last lines of its log, at most 16 KiB. */
    tail: string;
    /** Whether it ended with status 0, and by itself. */
    succeeded: boolean;
  }
  /** Has a program run once this call has returned the {@link Wait}; one in each call. The first word is the program. */
  function start(words: readonly string[], options?: Options): Wait;
  /** How the program ended for which this call was made; `undefined` if the call was made for something else. */
  function ended(): Ended | undefined;
  /** The declaration's `environmentVariables` of the type `SECRETS_MANAGER`, each with what names its secret: for `start`. */
  function declaredSecrets(): Record<string, string>;
}

/**
 * Directories that are kept for later executions, under keys: what a build would fetch or make again. What is kept may be gone the next
 * time.
 *
 *     const key = files.digest(`${action.input}/words.txt`);
 *     if (!caches.restore(key, 'index')) {
 *       files.write(`${action.scratch}/index/words`, 'made');
 *       caches.save(key, 'index');
 *     }
 *     files.copy(`${action.scratch}/index`, action.output);
 *
 * Both fail with *permission* where it is not granted, and with *configuration* where the key or the directory is none.
 */
export namespace caches {
  interface Found {
    /** The key that was asked for, or one that begins with a fallback. */
    readonly key: string;
    /** The SHA-256 of the manifest of its files, in hexadecimal. */
    readonly digest: string;
  }
  /** Whether it is granted: for whoever goes on without. */
  function isGranted(): boolean;
  /**
   * Lays what is kept under the key into a directory below the scratch (`cache`, not `/scratch/cache`), which is made. Without it: of
   * what is kept under keys that begin with the first fallback that any begins with, what was used last. `undefined` where there is
   * nothing; what is kept and cannot be laid out fails the job.
   */
  function restore(key: string, directory: string, options?: { fallbackKeys?: readonly string[] }): Found | undefined;
  /**
   * Keeps a directory below the scratch under the key, in the place of what was kept under it, once the action has succeeded with this
   * call.
   */
  function save(key: string, directory: string): void;
}

/**
 * Command-line tools that are WebAssembly components, run inside of the sandbox: linters, generators, whatever is built for
 * `wasm32-wasip2`. A tool sees the plugin's files, and nothing that the plugin could not reach itself, so that no grant is needed for it.
 *
 *     const status = tools.run(`${action.input}/tools/lint.wasm`, ['--strict', action.input]);
 *     if (status !== 0) throw new Failure(`the linter ended with status ${status}`);
 */
export namespace tools {
  interface Options {
    /** The SHA-256 that the component must have, in hexadecimal. Without it, whatever the file is runs. */
    digest?: string;
    /** Its variables. There are no others. */
    environment?: Readonly<Record<string, string>>;
    /** Whether it may reach the hosts that the plugin may; without it, none. */
    network?: boolean;
  }
  /**
   * Runs a tool to its end, and gives the status that it ended with. What it writes goes into the action's log. `component` is its file:
   * in an input artifact, in a granted directory, or one that the plugin wrote; or a tool that the account has installed, by the name and
   * the version of its package: `package:team/name@1.0.0`. `words` are its arguments.
   *
   * Fails with *permission* where its directory is not granted; with *configuration* where it is no tool, is not installed, or is another
   * one than the digest says; and the job where it crashed.
   */
  function run(component: string, words?: readonly string[], options?: Options): number;
}

/**
 * What tests and coverage tools found: it is kept with the execution, beside the log, and shown by `pipewright tests`. How the action
 * ends says whether that is good enough; a report alone fails nothing. A later report of the same name takes the place of the earlier one.
 *
 * Of one report 10,000 cases or files are kept, those that did not succeed before all others, and of one call 4 MiB (4,194,304 bytes); the log says how
 * many are left out, and the counts are of all. Names and paths are cut after 1,000 characters, messages after 5,000. The 101st report of a call fails
 * the action, and so does one without a name.
 */
export namespace results {
  /** One case; `suite` and `prefix` make its name unique, `file` and `line` are where it is in the source. */
  interface Case {
    name: string;
    /** `'error'` is a case that could not find out. */
    status: 'succeeded' | 'failed' | 'error' | 'skipped' | 'unknown';
    message?: string;
    seconds?: number;
    suite?: string;
    prefix?: string;
    file?: string;
    line?: number;
  }
  /** How much of a file is covered: pairs of what is, and of all there is. */
  interface File {
    path: string;
    lines: readonly [covered: number, total: number];
    branches?: readonly [covered: number, total: number];
  }
  function tests(name: string, cases: Iterable<Case>): void;
  function coverage(name: string, files: Iterable<File>): void;
}

/**
 * Secrets by name. A plugin holds a stand-in, and the host puts the value in its place in header values of requests to the hosts that
 * the secret was granted for. Each fails with *permission* where no grant allows it.
 */
export namespace secrets {
  /** A text to put into a header value as it is, e.g. after `Bearer `; it means nothing anywhere else. */
  function standIn(name: string): string;
  /** The whole value of an `Authorization` header for basic authentication, with the secret as password. */
  function basic(user: string, name: string): string;
  /** The value itself: a capability of its own. */
  function reveal(name: string): string;
}
