// Evaluated in the page: `window.viewing` makes views of text, lets them grow, and describes what they show.
(async () => {
  const { MarkdownView } = await import(new URL("static/text/markdown.js", location.href).href);
  const { library } = await import(new URL("static/text/library.js", location.href).href);
  await library;

  function make(options) {
    const container = document.createElement("div");
    container.className = "answer";
    document.body.append(container);
    return { container, view: new MarkdownView(container, options) };
  }

  const KEPT = ["href", "src", "alt", "title", "start", "checked", "data-align", "data-language", "data-loose"];

  // Returns a node as HTML without what is only for the look.
  function outline(node) {
    if (node.nodeType === Node.TEXT_NODE) return node.data.replace(/[&<>]/g, (each) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[each]);
    if (node.matches(".code-bar")) return "";
    const inside = [...node.childNodes].map(outline).join("");
    if (node.matches(".code span, .table-scroll")) return inside;
    if (node.matches(".math")) {
      const tex = node.querySelector("annotation")?.textContent ?? node.textContent;
      return `<math${"display" in node.dataset ? " display" : ""}>${tex}</math>`;
    }
    const attributes = KEPT.filter((name) => node.hasAttribute(name)).map((name) => {
      const value = node.getAttribute(name);
      return value ? ` ${name}="${value}"` : ` ${name}`;
    });
    const name = node.dataset.level ? `h${node.dataset.level}` : node.localName;
    return `<${name}${attributes.join("")}>${inside}${/^(?:input|img|hr)$/.test(name) ? "" : `</${name}>`}`;
  }

  const describe = (container) => [...container.childNodes].map(outline).join("");

  function show(text, options) {
    const { container, view } = make(options);
    view.set(text);
    view.finish();
    const html = describe(container);
    container.remove();
    return html;
  }

  // Frames that come when the test wants them, and take no time.
  function withoutFrames(run) {
    const { requestAnimationFrame } = window;
    const now = performance.now();
    performance.now = () => now;
    let frame = null;
    window.requestAnimationFrame = (callback) => ((frame = callback), 1);
    try {
      return run(() => {
        const callback = frame;
        frame = null;
        callback?.(0);
      });
    } finally {
      window.requestAnimationFrame = requestAnimationFrame;
      delete performance.now;
    }
  }

  // Lets a text grow by `step` characters a frame; `look({container, length, text})` is called after each frame.
  function grow(text, step, look, { from = 0, isFinished = true, made = make() } = {}) {
    const { container, view } = made;
    withoutFrames((frame) => {
      for (let end = Math.min(text.length, from + step); ; end = Math.min(text.length, end + step)) {
        view.set(text.slice(0, end));
        frame();
        look({ container, text: text.slice(0, end) });
        if (end === text.length) break;
      }
      if (isFinished) view.finish();
    });
    return made;
  }

  window.viewing = { make, show, describe, grow, withoutFrames };
})()
