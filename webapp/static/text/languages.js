// The languages that highlight.js knows, and other names for some of them.

export const NAMES = new Set(
  (
    "1c abnf accesslog actionscript ada angelscript apache applescript arcade arduino armasm asciidoc aspectj " +
    "autohotkey autoit avrasm awk axapta bash basic bnf brainfuck c cal capnproto ceylon clean clojure-repl " +
    "clojure cmake coffeescript coq cos cpp crmsh crystal csharp csp css d dart delphi diff django dns " +
    "dockerfile dos dsconfig dts dust ebnf elixir elm erb erlang-repl erlang excel fix flix fortran " +
    "freedesktop fsharp gams gauss gcode gherkin glsl gml go golo gradle graphql groovy haml handlebars " +
    "haskell haxe hsp http hy inform7 ini irpf90 isbl java javascript jboss-cli json julia-repl julia kotlin " +
    "lasso latex ldif leaf less lisp livecodeserver livescript llvm lsl lua makefile markdown mathematica " +
    "matlab maxima mel mercury mipsasm mizar mojolicious monkey moonscript n1ql nestedtext nginx nim nix " +
    "node-repl nsis objectivec ocaml openscad oxygene parser3 perl pf pgsql php-template php plaintext pony " +
    "powershell processing profile prolog properties protobuf puppet purebasic python-repl python q qml r " +
    "reasonml rib roboconf routeros rsl ruby ruleslanguage rust sas scala scheme scilab scss shell smali " +
    "smalltalk sml sqf sql stan stata step21 stylus subunit swift taggerscript tap tcl thrift tp twig " +
    "typescript vala vbnet vbscript-html vbscript verilog vhdl vim wasm wren x86asm xl xml xquery yaml zephir"
  ).split(" "),
);
/** @type {Map<string, string>} */
export const ALIASES = new Map();
const PAIRS =
  "asm x86asm, atom xml, bat dos, batch dos, c# csharp, c++ cpp, cc cpp, cjs javascript, clj clojure, " +
  "cmd dos, conf nginx, console shell, cs csharp, docker dockerfile, erl erlang, ex elixir, exs elixir, " +
  "f90 fortran, f# fsharp, fs fsharp, golang go, gql graphql, h c, hpp cpp, hs haskell, html xml, htm xml, " +
  "jinja django, jl julia, json5 json, jsonc json, jsx javascript, js javascript, kt kotlin, kts kotlin, " +
  "make makefile, md markdown, mjs javascript, ml ocaml, mm objectivec, mts typescript, nixos nix, " +
  "objc objectivec, obj-c objectivec, patch diff, pl perl, plist xml, postgres pgsql, postgresql pgsql, " +
  "proto protobuf, ps1 powershell, pwsh powershell, py python, pycon python-repl, py3 python, python3 python, " +
  "rb ruby, rs rust, rst plaintext, sass scss, sh bash, styl stylus, svg xml, tex latex, toml ini, " +
  "ts typescript, tsx typescript, txt plaintext, text plaintext, vb vbnet, vue xml, xhtml xml, yml yaml, " +
  "zsh bash";
for (const pair of PAIRS.split(", ")) {
  const [alias, name] = pair.split(" ");
  ALIASES.set(alias, name);
}

/**
 * Return the name of highlight.js for a language; null if it does not know the language.
 *
 * @param {string} label - as after the fence of a code block
 * @returns {string | null}
 */
export function knownLanguage(label) {
  const name = label.toLowerCase();
  const known = ALIASES.get(name) ?? name;
  return NAMES.has(known) ? known : null;
}
