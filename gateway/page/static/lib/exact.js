// Integers of 64 bits. A double holds 53 bits, so event times and batch ids are BigInt everywhere on the page.

const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const LONG = /^-?\d{16,}$/;
const MARK = `exact ${Math.random()} `; // no text of the service begins with it

// Parse JSON. An integer of 16 digits or more becomes a BigInt; JSON.parse would round it.
export function parse(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  const marked = text.replace(TOKENS, (token) => (LONG.test(token) ? `"${MARK}${token}"` : token));
  return JSON.parse(marked, (_, value) =>
    typeof value === "string" && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value,
  );
}

// Return an integer as a BigInt; null stays null.
export const big = (value) => (value == null ? null : BigInt(value));

export const compared = (one, other) => (one < other ? -1 : Number(one > other));
export const least = (...values) => values.sort(compared)[0];
export const most = (...values) => values.sort(compared).at(-1);
