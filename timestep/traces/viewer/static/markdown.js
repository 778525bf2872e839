"use strict";
// Markdown as elements. Only text nodes and elements named here are made: HTML in it stays text,
// an image is a link, and a link leads to the web or to a mail program. Its work is linear in the text.

const MOST_MARKDOWN = 50000;
const MOST_DEPTH = 8;
const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`\s]{0,40})[^`]{0,200}$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*)$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)(.*)$/;
const QUOTE = /^ {0,3}> ?/;
const DELIMITER = /^[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/** *text* as a person wrote it: JSON as JSON, anything else as Markdown. */
function markdown(text) {
  if (text.length > MOST_MARKDOWN) return plain(text);
  if (/^\s*[{[]/.test(text) && format.json(text) !== text) return codeBlock(format.json(text), "json");
  return el(".markdown", { dir: "auto" }, blocks(text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n"), 0));
}

function blocks(lines, depth) {
  const made = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (!line.trim()) at += 1;
    else if (depth < MOST_DEPTH && startsBlock(lines, at)) at = block(lines, at, depth, made);
    else {
      const begin = at;
      do at += 1; while (at < lines.length && lines[at].trim() && !startsBlock(lines, at));
      made.push(el("p", null, inline(lines.slice(begin, at).join("\n").trim())));
    }
  }
  return made;
}

function startsBlock(lines, at) {
  const line = lines[at];
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || ITEM.test(line) || QUOTE.test(line) || startsTable(lines, at);
}

function startsTable(lines, at) {
  return lines[at].includes("|") && at + 1 < lines.length && lines[at + 1].includes("-") && lines[at + 1].length < 2000 && DELIMITER.test(lines[at + 1]);
}

/** Make the block that begins at line *at*; return where the next one begins. */
function block(lines, at, depth, made) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return fenced(lines, at, fence, made);
  const heading = HEADING.exec(line);
  if (heading) {
    // The page has h1 to h3 itself.
    made.push(el(`h${Math.min(6, heading[1].length + 3)}`, null, inline(heading[2].trimEnd().replace(/ #{1,6}$/, ""))));
    return at + 1;
  }
  if (RULE.test(line)) {
    made.push(el("hr"));
    return at + 1;
  }
  if (QUOTE.test(line)) {
    const begin = at;
    while (at < lines.length && QUOTE.test(lines[at])) at += 1;
    made.push(el("blockquote", null, blocks(lines.slice(begin, at).map((each) => each.replace(QUOTE, "")), depth + 1)));
    return at;
  }
  return ITEM.test(line) ? list(lines, at, depth, made) : table(lines, at, made);
}

function fenced(lines, at, [, mark, language], made) {
  const begin = at + 1;
  const ends = (line) => line.trim().startsWith(mark) && !line.trim().replaceAll(mark[0], "");
  do at += 1; while (at < lines.length && !ends(lines[at]));
  made.push(codeBlock(lines.slice(begin, at).join("\n"), language));
  return at + 1;
}

function codeBlock(code, language) {
  return el("figure.code", null,
    el("figcaption", null, el("span", null, language || "code"), copyButton("the code", () => code)),
    el("pre", { tabIndex: 0, dir: "ltr" }, el("code", null, code)));
}

function list(lines, at, depth, made) {
  const [, indent, mark] = ITEM.exec(lines[at]);
  const isOrdered = /\d/.test(mark);
  const items = [];
  while (at < lines.length) {
    const item = ITEM.exec(lines[at]);
    if (!item || item[1].length > indent.length + 1 || item[1].length < indent.length || /\d/.test(item[2]) !== isOrdered || RULE.test(lines[at])) break;
    const content = [item[4]];
    const inner = item[1].length + item[2].length + Math.min(Math.max(item[3].length, 1), 4);
    for (at += 1; at < lines.length && belongs(lines, at, item[1].length); at += 1) {
      content.push(lines[at].replace(new RegExp(`^ {0,${inner}}`), ""));
    }
    items.push(el("li", null, tight(blocks(content, depth + 1))));
  }
  const start = isOrdered ? Number.parseInt(mark, 10) : null;
  made.push(el(isOrdered ? "ol" : "ul", start > 1 ? { start } : null, items));
  return at;
}

/** Does line *at* belong to the list item that is indented by *indent*? */
function belongs(lines, at, indent) {
  const line = lines[at];
  if (!line.trim()) return at + 1 < lines.length && /^ +\S/.test(lines[at + 1]) && lines[at + 1].search(/\S/) > indent;
  return line.search(/\S/) > indent || !startsBlock(lines, at) && Boolean(lines[at - 1].trim());
}

/** An item of one paragraph is shown without the paragraph's space. */
function tight(children) {
  return children[0]?.tagName === "P" ? [...children[0].childNodes, ...children.slice(1)] : children;
}

function table(lines, at, made) {
  const [head, aligned] = [cells(lines[at]), cells(lines[at + 1])];
  const rows = [];
  for (at += 2; at < lines.length && lines[at].includes("|") && lines[at].trim(); at += 1) rows.push(cells(lines[at]));
  const row = (tag, texts) => el("tr", null, head.map((_, index) =>
    el(`${tag}${/-:$/.test(aligned[index] || "") ? ".right" : ""}`, null, inline(texts[index] || ""))));
  made.push(el(".wide", { tabIndex: 0, role: "region", "aria-label": "table" }, el("table", null, el("thead", null, row("th", head)), el("tbody", null, rows.map((texts) => row("td", texts))))));
  return at;
}

function cells(line) {
  return line.trim().replace(/^\|/, "").replace(/(^|[^\\])\|$/, "$1").replace(/\\\|/g, "\u0001").split("|").map((text) => text.replaceAll("\u0001", "|").trim());
}

const MARK = /\\[!-/:-@[-`{-~]|`+|!?\[|\*{1,3}|_{1,3}|~~|https?:\/\/[^\s<>"'`)\]]{1,2000}| {2,9}\n/g;

/** The nodes of a paragraph. */
function inline(text, depth = 0) {
  const made = [];
  const closings = new Map(); // where each mark stands next, so that the text is searched once
  let done = 0;
  MARK.lastIndex = 0;
  const marks = [...text.matchAll(MARK)];
  for (const found of marks) {
    if (found.index < done) continue;
    const span = depth < MOST_DEPTH && spanAt(text, found[0], found.index, depth, closings);
    if (!span) continue;
    made.push(text.slice(done, found.index), span.node);
    done = span.end;
  }
  made.push(text.slice(done));
  return made;
}

function spanAt(text, mark, at, depth, closings) {
  const end = at + mark.length;
  if (mark[0] === "\\") return { node: mark[1], end };
  if (mark.endsWith("\n")) return { node: el("br"), end };
  if (mark.startsWith("http")) {
    const url = mark.replace(/[.,;:!?*_~]+$/, "");
    return { node: link(url, [url]), end: at + url.length };
  }
  if (mark[0] === "`") {
    const close = closing(text, mark, end, closings);
    return close < 0 ? null : { node: el("code", null, text.slice(end, close).replace(/^ (.+) $/, "$1")), end: close + mark.length };
  }
  if (mark.endsWith("[")) return linkAt(text, mark, at, depth, closings);
  return emphasis(text, mark, at, depth, closings);
}

function closing(text, mark, from, closings) {
  let found = closings.get(mark);
  if (found === undefined || found < from) {
    found = text.indexOf(mark, from);
    closings.set(mark, found < 0 ? Infinity : found);
  }
  return found === Infinity ? -1 : found;
}

const EMPHASIS = { "*": ["em"], _: ["em"], "**": ["strong"], __: ["strong"], "***": ["strong", "em"], ___: ["strong", "em"], "~~": ["del"] };

function emphasis(text, mark, at, depth, closings) {
  const begin = at + mark.length;
  const isWord = (index) => /[\p{L}\p{N}]/u.test(text[index] || "");
  if (/^\s?$/.test(text[begin] || "") || mark[0] === "_" && isWord(at - 1)) return null;
  const end = closing(text, mark, begin + 1, closings);
  if (end < 0 || /\s/.test(text[end - 1]) || mark[0] === "_" && isWord(end + mark.length)) return null;
  const inner = inline(text.slice(begin, end), depth + 1);
  const node = EMPHASIS[mark].reduceRight((content, tag) => el(tag, null, content), inner);
  return { node, end: end + mark.length };
}

const LINK = /\]\(<?([^\s()<>]{1,2000}(?:\([^\s()<>]{0,200}\)[^\s()<>]{0,200})?)>?(?:\s+"[^"]{0,500}")?\)/y;

function linkAt(text, mark, at, depth, closings) {
  const begin = at + mark.length;
  const close = closing(text, "](", begin, closings);
  if (close < 0 || close - begin > 2000) return null;
  LINK.lastIndex = close;
  const found = LINK.exec(text);
  if (!found) return null;
  const label = text.slice(begin, close);
  const content = mark[0] === "!" ? [`image: ${label || found[1]}`] : inline(label, MOST_DEPTH);
  return { node: link(found[1], content), end: LINK.lastIndex };
}

/** A link that opens in a window of its own; any other address is text. */
function link(url, content) {
  if (!/^(https?:\/\/|mailto:)/i.test(url)) return el("span", null, content, ` (${url})`);
  return el("a", { href: url, title: url, target: "_blank", rel: "noopener noreferrer" }, content);
}
