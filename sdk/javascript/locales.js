/**
 * The languages and time zones of the polyfill that the build bundles (intl.mjs): what a component does not have is an error in
 * words, where the polyfill would take another language or UTC.
 */

/** The name of the data of a language among those that there are, as `zh-Hant` for `zh-TW`; `undefined` where there is none. */
export function dataOf(tag, names) {
  const locale = new Intl.Locale(tag);
  const { language, script, region } = locale.maximize();
  const candidates = [locale.baseName, `${language}-${script}-${region}`, `${language}-${region}`, `${language}-${script}`, language];
  return candidates.find((name) => names.has(name));
}

/** What a formatter has to do with languages; `Intl.Locale` and `Intl.Segmenter` have no data of any. */
const OF_LANGUAGES = ['DateTimeFormat', 'DisplayNames', 'DurationFormat', 'ListFormat', 'NumberFormat', 'PluralRules', 'RelativeTimeFormat'];
const DATE = ['year', 'month', 'day'];
const TIME = ['hour', 'minute', 'second'];
/** Of a date and of a time, what may be shown of it: ECMA-402, "CreateDateTimeFormat". */
const DATE_OPTIONS = ['weekday', ...DATE, 'dateStyle'];
const TIME_OPTIONS = ['dayPeriod', ...TIME, 'fractionalSecondDigits', 'timeStyle'];

/** Languages that are ready at the start of a call: each is 3 MB more of a component, which may have 64. */
const READY_MAX = 4;
/** Stops a plugin that has a new format for each of many values. */
const FORMATS_MAX = 100;

/** Puts these checks before the polyfill. `locales` are those that the component has, `known` all that there are. */
export function install({ locales, known }) {
  const [here, all] = [new Set(locales), new Set(known)];

  function mustHave(requested, { availableLocales }) {
    const tags = Intl.getCanonicalLocales(requested);
    // As the standard has it, the next is taken for one that nobody knows.
    const name = tags.map((tag) => dataOf(tag, all)).find((name) => name !== undefined);
    // A plugin may bring data of its own.
    if (tags.length === 0 || here.has(name) || availableLocales?.has(name)) return;
    if (name === undefined) throw new RangeError(`there is no data of the language ${tags.join(', ')}`);
    throw new RangeError(
      `the component has no data of the language ${name}, only of ${locales.join(', ')}; name it in package.json, and build again: ` +
        `"pipewright": { "locales": ${JSON.stringify([...locales, name])} }`,
    );
  }

  for (const name of OF_LANGUAGES.filter((name) => name in Intl)) {
    const made = name === 'DateTimeFormat' ? inZone : (make, options) => make(options);
    const value = new Proxy(Intl[name], {
      apply(target, self, [requested, options]) {
        mustHave(requested, target);
        return made((options) => Reflect.apply(target, self, [requested, options]), options);
      },
      construct(target, [requested, options], newTarget) {
        mustHave(requested, target);
        return made((options) => Reflect.construct(target, [requested, options], newTarget), options);
      },
    });
    Object.defineProperty(Intl, name, { configurable: true, writable: true, value });
  }
  methods();
  // The first use of a language takes a good part of a second, of each call: so it is made before the component is.
  for (const locale of locales.slice(0, READY_MAX)) [new Date(0), 0].forEach((value) => value.toLocaleString(locale));
}

/** The polyfill does not name a time zone that it does not know, and takes some for UTC that it knows by name alone. */
function inZone(make, options) {
  const zone = options?.timeZone;
  if (zone === undefined) return make(options);
  const named = /^gmt$/i.test(zone) ? 'UTC' : zone;
  try {
    const format = make(and(options, { timeZone: named }));
    const { timeZone } = format.resolvedOptions();
    if (/^(UTC$|[+-])/.test(timeZone) || Object.hasOwn(Intl.DateTimeFormat.tzData, timeZone)) return format;
  } catch (error) {
    if (!/timeZone/.test(error.message)) throw error;
  }
  throw new RangeError(`there is no time zone ${zone}; name one like Europe/Berlin, UTC or +02:00`);
}

/** Options with some others, as the standard makes them: what they inherit counts. */
const and = (options, others) => Object.assign(Object.create(options ?? null), others);

/** The polyfill's own would hide each error, make a format for each call, and know nothing of lists. */
function methods() {
  const put = ({ prototype }, name, call) => {
    const value = function (locales, options) {
      return call(this, locales, options);
    };
    Object.defineProperty(prototype, name, { configurable: true, writable: true, value });
  };
  const numbers = kept((locales, options) => new Intl.NumberFormat(locales, options));
  for (const type of [Number, BigInt]) put(type, 'toLocaleString', (value, ...how) => numbers(...how).format(value));
  const list = (values, ...how) => Array.from(values, (value) => value?.toLocaleString(...how) ?? '').join(',');
  for (const type of [Array, Object.getPrototypeOf(Uint8Array)]) put(type, 'toLocaleString', list);
  put(Date, 'toLocaleString', shown([...DATE_OPTIONS, ...TIME_OPTIONS], [...DATE, ...TIME]));
  put(Date, 'toLocaleDateString', shown(DATE_OPTIONS, DATE));
  put(Date, 'toLocaleTimeString', shown(TIME_OPTIONS, TIME));
}

/** A date as text: where the options name nothing of `what`, that is `otherwise`. */
function shown(what, otherwise) {
  const added = Object.fromEntries(otherwise.map((name) => [name, 'numeric']));
  const dates = kept((locales, options) => {
    const isNamed = what.some((name) => options?.[name] !== undefined);
    return new Intl.DateTimeFormat(locales, isNamed ? options : and(options, added));
  });
  return (date, ...how) => (Number.isNaN(date.getTime()) ? 'Invalid Date' : dates(...how).format(date));
}

/** What makes a format, which takes long, once for the same languages and options. */
function kept(make) {
  const formats = new Map();
  return (locales, options) => {
    // What is inherited is not in a key.
    if (options !== undefined && Object.getPrototypeOf(options) !== Object.prototype) return make(locales, options);
    const key = `${locales} ${JSON.stringify(options)}`;
    if (formats.size >= FORMATS_MAX) formats.clear();
    if (!formats.has(key)) formats.set(key, make(locales, options));
    return formats.get(key);
  };
}
