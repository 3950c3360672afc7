// Streams texts through the page's MarkdownView and reports every node that it ever makes and that it must not make.
// Evaluates to `{ stream(texts, size), audit(root), unsafe(root) }`.
(() => {
  const SCHEMES = ["http:", "https:", "mailto:"];
  const TAGS = new Set(
    ("P H3 H4 H5 H6 UL OL LI BLOCKQUOTE HR STRONG EM DEL CODE PRE A BR INPUT FIGURE DIV SPAN BUTTON " +
      "TABLE THEAD TBODY TR TH TD svg path").split(" "),
  );
  // Each attribute, with the values that it may have.
  const ATTRIBUTES = {
    class: /^[a-z][\w-]*_?( [a-z][\w-]*_?)*$/,
    dir: /^(auto|ltr)$/,
    role: /^(group|button|img)$/,
    tabindex: /^0$/,
    title: /^/,
    href: /^(https?|mailto):/,
    rel: /^noopener noreferrer nofollow$/,
    target: /^_blank$/,
    type: /^(checkbox|button)$/,
    start: /^\d{1,9}$/,
    disabled: /^$/,
    checked: /^$/,
    viewBox: /^[\d ]+$/,
    d: /^[\d\sA-Za-z.,-]+$/,
    width: /^\d+$/,
    height: /^\d+$/,
    fill: /^(none|currentColor)$/,
    stroke: /^currentColor$/,
    "stroke-width": /^[\d.]+$/,
    "stroke-linecap": /^round$/,
    "stroke-linejoin": /^round$/,
    "data-icon": /^[a-z]+$/,
    hidden: /^$/,
    "data-language": /^[\w+#-]{0,40}$/,
    "data-label": /^[\w+#-]{0,40}$/,
    "data-align": /^(left|center|right)$/,
    "data-task": /^(open|done)$/,
    "data-level": /^[1-6]$/,
    "data-state": /^[a-z]*$/,
    "data-wrap": /^[a-z]*$/,
    "data-loose": /^$/,
    "data-display": /^$/,
    "aria-label": /^/,
    "aria-hidden": /^true$/,
    "aria-pressed": /^(true|false)$/,
    "aria-busy": /^(true|false)$/,
  };
  // KaTeX makes lengths and colours as style properties, and MathML for screen readers.
  const MATH_TAG = /^(SPAN|svg|path|line|math|semantics|annotation|m[a-z]+)$/;
  const MATH_ATTRIBUTE = /^(class|aria-hidden|style|title|xmlns|encoding|display|width|height|viewBox|preserveAspectRatio|d|x1|x2|y1|y2|stroke-width|math[a-z]+|[a-z]*(align|space|line|lines|spacing|size|stretchy|fence|separator|accent|accentunder|form|height|depth|width|notation|voffset|padding|largeop|symmetric|limits|scriptlevel|displaystyle|variant|lspace|rspace|side))$/;
  const STYLE = /^[\w.#%(),\s:;-]*$/;

  function audit(root) {
    const found = [];
    for (const element of [root, ...root.querySelectorAll("*")].filter((each) => each.nodeType === 1)) {
      const isMath = element.closest(".katex, .katex-error, .katex-display") !== null;
      const name = element.namespaceURI === "http://www.w3.org/1999/xhtml" ? element.tagName : element.localName;
      if (!(isMath ? MATH_TAG.test(name) || TAGS.has(name) : TAGS.has(name))) found.push(`<${name}>`);
      for (const { name: attribute, value } of element.attributes) {
        const allowed = isMath
          ? MATH_ATTRIBUTE.test(attribute) && (attribute !== "style" || (STYLE.test(value) && !/url|position|z-index/i.test(value)))
          : ATTRIBUTES[attribute]?.test(value);
        if (!allowed) found.push(`<${name} ${attribute}="${value.slice(0, 200)}">`);
        if (/evil|pwned/.test(value) && !["href", "title", "aria-label"].includes(attribute)) found.push(`${attribute}=${value}`);
      }
      if (element.localName === "a" && element.hasAttribute("href")) {
        const isSafe = SCHEMES.includes(element.protocol) && element.target === "_blank" && element.rel.includes("noopener");
        if (!isSafe || /^[^:]*@/.test(element.protocol)) found.push(element.outerHTML);
      }
      if (element.localName === "input" && !(element.type === "checkbox" && element.disabled)) found.push(element.outerHTML);
    }
    return found;
  }

  // Returns what no part of the page may have, whatever its room: handlers, foreign files, addresses that run or fetch.
  function unsafe(root) {
    const found = [];
    for (const element of root.querySelectorAll("*")) {
      const { localName } = element;
      if (["iframe", "object", "embed", "base", "frame", "portal", "style"].includes(localName)) found.push(element.outerHTML);
      for (const { name, value } of element.attributes) {
        const isAddress = ["href", "src", "srcset", "action", "formaction", "xlink:href", "poster", "data"].includes(name);
        const isOwn = isAddress && !value.includes(",") && new URL(value, document.baseURI).origin === location.origin;
        const isLink = isAddress && localName === "a" && SCHEMES.includes(element.protocol);
        if (name.startsWith("on") || (isAddress && !isOwn && !isLink)) found.push(`<${localName} ${name}="${value}">`);
        if (isLink && !isOwn && !(element.target === "_blank" && element.rel.includes("noopener"))) found.push(element.outerHTML);
      }
      if (localName === "script" && !element.src.startsWith(new URL("static/", document.baseURI).href)) found.push(element.outerHTML);
    }
    return found;
  }

  const frame = () => new Promise(requestAnimationFrame);

  // Shows each text in a view of its own, all growing at once by `size` characters for each frame; 0: at once.
  async function stream(texts, size) {
    const { MarkdownView } = await import(new URL("static/text/markdown.js", document.baseURI));
    const root = document.createElement("div");
    document.body.append(root);
    const found = [];
    const made = new WeakSet();
    let nodes = 0;
    const watch = (records) => {
      for (const { type, target, addedNodes } of records) {
        const changed = type === "attributes" ? [target] : addedNodes;
        for (const node of changed) {
          if (node.nodeType !== 1) continue;
          if (!made.has(node)) nodes += 1;
          made.add(node);
          const index = [...root.children].findIndex((each) => each.contains(target));
          for (const each of audit(node)) found.push({ text: texts[index]?.slice(0, 100) ?? null, found: each });
        }
      }
    };
    const observer = new MutationObserver(watch);
    const views = texts.map(() => {
      const container = document.createElement("div");
      container.className = "answer";
      root.append(container);
      return new MarkdownView(container);
    });
    observer.observe(root, { subtree: true, childList: true, attributes: true });
    const steps = size ? Math.max(...texts.map((text) => Math.ceil(text.length / sizeOf(text, size)))) : 1;
    for (let step = 1; step <= steps; step += 1) {
      texts.forEach((text, index) => {
        const end = size ? step * sizeOf(text, size) : text.length;
        if (end - sizeOf(text, size) < text.length) views[index].set(text.slice(0, end));
      });
      await frame();
    }
    for (const view of views) view.finish();
    await settled(root);
    watch(observer.takeRecords());
    observer.disconnect();
    found.push(...[...root.children].flatMap((each, index) => audit(each).map((it) => ({ text: texts[index].slice(0, 100), found: it }))));
    const shown = [...root.children].map((each) => each.textContent);
    const kinds = Object.fromEntries(["a", "pre", ".katex", "table", "input", "strong"].map((each) => [each, root.querySelectorAll(each).length]));
    root.remove();
    const different = [...new Map(found.map((each) => [each.found, each])).values()];
    return { found: different.slice(0, 20), shown, kinds, nodes };
  }

  const MOST_STEPS = 80; // long texts grow in larger pieces

  function sizeOf(text, size) {
    return Math.max(size, Math.ceil(text.length / MOST_STEPS));
  }

  // Waits until nothing has changed for some frames: code and math get their looks later.
  async function settled(root) {
    let quiet = 0;
    const observer = new MutationObserver(() => (quiet = 0));
    observer.observe(root, { subtree: true, childList: true, attributes: true, characterData: true });
    while (quiet < 30) {
      quiet += 1;
      await frame();
    }
    observer.disconnect();
  }

  return { stream, audit, unsafe };
})()
