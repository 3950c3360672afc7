// Evaluated in the page: `window.generated(seed)` is a markdown document, another one for each seed.
(() => {
  function generated(seed) {
    let state = seed;
    const random = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
    const pick = (list) => list[Math.floor(random() * list.length)];
    const several = (most, make) => Array.from({ length: 1 + Math.floor(random() * most) }, (_, index) => make(index));
    const indented = (text, space) => text.replaceAll("\n", `\n${space}`);
    const line = (text) => text.replaceAll("\n", " ");
    const words = `alpha beta γάμμα 重要 「点」 שלום x a_b 2*3 5 $5 $10 | a|b C++ <b> <b &amp; &copy &#65; \\* \\ ! [ ] ( ) * ** _ \` ~ ~~ # - 😀
      http://e.org/a_b www.e.org me@e.org <https://e.org> $ \\( \\[x\\] : ' "`.split(/\s+/);

    function inline(depth = 0) {
      const part = () =>
        random() < 0.5 || depth > 2
          ? pick(words)
          : pick([
              () => `**${inline(depth + 1)}**`,
              () => `*${inline(depth + 1)}*`,
              () => `_${inline(depth + 1)}_`,
              () => `~~${inline(depth + 1)}~~`,
              () => `***${pick(words)}***`,
              () => `\`${pick(words)} ${pick(words)}\``,
              () => "``a ` b``",
              () => `[${inline(depth + 1)}](http://e.org/${pick(words)})`,
              () => `[${pick(words)}](/relative "title")`,
              () => `![${pick(words)} ${pick(words)}](http://e.org/i.png)`,
              () => `$${pick(["x^2", "a+b", "\\frac{1}{2}", "y_1"])}$`,
              () => "\\(z\\)",
              () => "$$q$$",
              () => "[ref]",
            ])();
      return several(6, part).join(pick([" ", " ", "", "\n"]));
    }

    function block(depth = 0) {
      const inner = () => (depth < 2 ? pick([inline, () => block(depth + 1)])() : inline());
      return pick([
        inline,
        inline,
        () => `${"#".repeat(1 + Math.floor(random() * 6))} ${line(inline())}`,
        () => several(4, () => `- ${indented(inner(), "  ")}`).join(pick(["\n", "\n\n"])),
        () => several(4, (index) => `${index + 1}. ${indented(inline(), "   ")}`).join("\n"),
        () => several(3, () => `- [${pick([" ", "x"])}] ${line(inline())}`).join("\n"),
        () => `\`\`\`${pick(["", "js", "python x", "c++"])}\n${several(4, () => pick(["let a = 1;", "", "  x", "```x", "~~~", "| a |", "- b"])).join("\n")}\n\`\`\``,
        () => "~~~\ncode\n~~~",
        () => `| a | b |\n|---|:-:|\n${several(3, () => `| ${line(inline(2))} | ${pick(words)} |`).join("\n")}`,
        () => "a | b\n--|--\n1 | 2",
        () => `> ${indented(inner(), "> ")}`,
        () => `$$\n${pick(["E=mc^2", "a\\\\\nb"])}\n$$`,
        () => "\\[\nx\n\\]",
        () => pick(["---", "***"]),
        () => `${inline()}\n${pick(["===", "---"])}`,
        () => "    indented",
        () => `<div>\n${inline()}\n</div>`,
        () => '[ref]: http://ref.org "title"',
      ])();
    }

    return several(5, () => block()).join(pick(["\n\n", "\n\n", "\n"])) + pick(["", "\n"]);
  }
  window.generated = generated;
})()
