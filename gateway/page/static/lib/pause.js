// Whether the page stands still. While it does, nothing is drawn anew and nothing is asked for by itself.

let still = false;
const listeners = new Set();

export const paused = () => still;
export const onPause = (listener) => listeners.add(listener);

export function pause(wanted = !still) {
  still = wanted;
  for (const listener of listeners) listener(still);
}
