// Numbers as they are read.

const USD = new Intl.NumberFormat("en", {
  style: "currency", currency: "USD", minimumFractionDigits: 0,
  maximumSignificantDigits: 3,
});
const UNITS = ["bytes", "KB", "MB", "GB", "TB"];

/** US dollars, three digits; "unknown" for none. */
export function usd(value) {
  return value === null || value === undefined ? "unknown" : USD.format(value);
}

/** A share as a percentage, one decimal; "unknown" for none. */
export function percent(value, digits = 1) {
  return value === null || value === undefined ? "unknown" : `${(value * 100).toFixed(digits)} %`;
}

/** The two ends of a band of shares. */
export function band(low, high) {
  return `${(low * 100).toFixed(1)}–${percent(high)}`;
}

/** A size, in powers of a thousand. */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "unknown";
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
  const value = bytes / 1000 ** power;
  return `${value < 10 && power ? value.toFixed(1) : Math.round(value)} ${UNITS[power]}`;
}

/** A whole number with its thousands set apart. */
export function count(value) {
  return Number(value).toLocaleString("en");
}

/** Round steps from below `low` to above `high`, about `wanted` of them. */
export function steps(low, high, wanted) {
  const span = Math.max(high - low, 1e-12);
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => span / each <= wanted);
  const found = [];
  for (let at = Math.floor(low / step + 1e-9); at <= Math.ceil(high / step - 1e-9); at++) {
    found.push(at * step);
  }
  return found;
}
