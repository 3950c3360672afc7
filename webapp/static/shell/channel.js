// A channel between the tabs of this page. A browser that allows no storage may refuse it: each tab is then alone.

/**
 * @param {string} name
 * @returns {{postMessage: (data: any) => void, addEventListener: (type: "message", listener: (event: any) => void) => void}}
 */
export function openChannel(name) {
  try {
    return new BroadcastChannel(name);
  } catch {
    return Object.assign(new EventTarget(), { postMessage() {} });
  }
}
