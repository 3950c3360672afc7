// Feeds a text to the page's MarkdownView and reports what it cost. Evaluates to `feed(text, options)`.
// `every`: milliseconds between two pieces; 0 for one piece in each frame. `size`: characters of a piece.
// `half()` is called when half of the text has been given, so that the halves can be compared.
(async (text, { size, every }) => {
  const { MarkdownView } = await import(new URL("static/text/markdown.js", document.baseURI));
  const root = document.createElement("div");
  root.className = "answer";
  document.body.append(root);
  const view = new MarkdownView(root);
  const frame = () => new Promise(requestAnimationFrame);
  view.set(text.slice(0, 200)); // loads the libraries
  for (let number = 0; number < 30; number += 1) await frame();

  // How much is read in all: a text that is read again from its start with each piece costs its square.
  const { Lexer } = await import(new URL("static/assets/marked/lib/marked.esm.js", document.baseURI));
  let lexed = 0;
  const { blockTokens } = Lexer.prototype;
  Lexer.prototype.blockTokens = function (source, ...more) {
    lexed += source.length;
    return blockTokens.call(this, source, ...more);
  };

  const long = [];
  const tasks = new PerformanceObserver((list) => long.push(...list.getEntries().map((each) => each.duration)));
  tasks.observe({ type: "longtask" });
  let [made, updates, since] = [0, 0, 0];
  const waits = [];
  const changes = new MutationObserver((records) => {
    updates += 1;
    for (const { addedNodes } of records) for (const node of addedNodes) made += 1 + descendants(node);
    if (since) waits.push(performance.now() - since);
    since = 0;
  });
  changes.observe(root, { subtree: true, childList: true, characterData: true });
  let frames = 0;
  let isOver = false;
  const count = () => {
    frames += 1;
    if (!isOver) requestAnimationFrame(count);
  };
  requestAnimationFrame(count);

  const start = performance.now();
  /** @type {Element[] | null} */
  let kept = null;
  await window.mark?.("start");
  for (let end = 200, number = 1; end < text.length + size; end += size, number += 1) {
    view.set(text.slice(0, end));
    since ||= performance.now();
    if (kept === null && end >= text.length / 2) {
      kept = [...root.querySelectorAll(":scope > *, tbody > tr")].slice(0, -3);
      await window.mark?.("half");
    }
    if (every === 0) await frame();
    else {
      const due = start + number * every;
      while (performance.now() < due) await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
    }
  }
  await window.mark?.("end");
  const seconds = (performance.now() - start) / 1000;
  view.finish();
  for (let number = 0; number < 30; number += 1) await frame();
  isOver = true;
  Lexer.prototype.blockTokens = blockTokens;
  tasks.disconnect();
  changes.disconnect();
  waits.sort((a, b) => a - b);
  const result = {
    seconds,
    frames,
    updates,
    made,
    lexed,
    nodes: descendants(root),
    kept: kept.length,
    same: kept.every((node) => node.isConnected),
    longTasks: long.length,
    longest: Math.max(0, ...long),
    wait: waits[Math.floor(waits.length / 2)] ?? 0,
    wait99: waits[Math.floor(waits.length * 0.99)] ?? 0,
    characters: root.textContent.length,
  };
  root.remove();
  return result;

  function descendants(node) {
    let sum = 0;
    for (const child of node.childNodes) sum += 1 + descendants(child);
    return sum;
  }
})
