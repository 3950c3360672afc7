// The page's address names the open conversation in its hash, so that a reload, a bookmark and the history find it again.

/** Return the conversation in the address, or null. */
export function idInAddress() {
  return /^#[0-9a-f]{32}$/.test(location.hash) ? location.hash.slice(1) : null;
}

/**
 * Show a conversation, or null, in the address, in place of the one that is there.
 *
 * @param {string | null} id
 */
export function showInAddress(id) {
  history.replaceState(null, "", id === null ? location.pathname + location.search : `#${id}`);
}
