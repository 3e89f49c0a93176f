/** Time zones that are unpacked when they are asked for: a component is a picture of memory, and all of them unpacked are most of it. */

const { DateTimeFormat } = Intl;
const unpack = DateTimeFormat.__addTZData;

DateTimeFormat.__addTZData = ({ zones, ...shared }) => {
  const all = {};
  for (const packed of zones) {
    const name = packed.slice(0, packed.indexOf('|'));
    const get = () => {
      unpack({ ...shared, zones: [packed] });
      const value = DateTimeFormat.tzData[name];
      Object.defineProperty(all, name, { enumerable: true, value });
      DateTimeFormat.tzData = all;
      return value;
    };
    Object.defineProperty(all, name, { configurable: true, enumerable: true, get });
  }
  DateTimeFormat.tzData = all;
};
