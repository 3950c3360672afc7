// A browser opens six connections per host over HTTP/1.1, for all its tabs together. Each visible page that streams holds one
// of four locks, and the others poll until one is free: requests, and the feed of hidden pages, always find a connection.

const SLOTS = 4;
const GRACE_MS = 500; // a free lock takes less, and the page streams meanwhile

export class StreamSlot {
  /** Whether the page may stream. */
  isFree = true;
  #onChange;
  #name = `millrace stream ${location.pathname}`;
  #isNeeded = Boolean(navigator.locks) && isLimited();
  /** @type {AbortController | null} */
  #taken = null; // aborted when the page is hidden

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  take() {
    if (this.#taken || !this.#isNeeded) return;
    const [taken, waiting] = [new AbortController(), new AbortController()];
    const end = new Promise((resolve) => taken.signal.addEventListener("abort", resolve));
    const timer = setTimeout(() => this.#show(false), GRACE_MS);
    taken.signal.addEventListener("abort", () => {
      clearTimeout(timer);
      waiting.abort();
    });
    const hold = () => {
      if (waiting.signal.aborted) return undefined; // it has another one, or is hidden
      waiting.abort();
      clearTimeout(timer);
      this.#show(true);
      return end;
    };
    this.#taken = taken;
    for (let number = 1; number <= SLOTS; number++) {
      navigator.locks.request(`${this.#name} ${number}`, { signal: waiting.signal }, hold).catch(() => {}); // aborted before its turn
    }
  }

  release() {
    this.#taken?.abort();
    this.#taken = null;
  }

  /** @param {boolean} isFree */
  #show(isFree) {
    if (this.isFree === isFree) return;
    this.isFree = isFree;
    this.#onChange();
  }
}

// Over HTTP/2 all streams share one connection.
function isLimited() {
  const [navigation] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType("navigation"));
  return navigation?.nextHopProtocol.startsWith("http/1") ?? false;
}
