// What an element is, what it is called, and everything about it that a person could read or hear. Nothing is cut here: a rule that
// sees half of a label judges another label.
(() => {
  const M = globalThis.molmo;
  if (!M || M.wordsOf) return;
  const D = M.dom, parentOf = M.parentOf;

  M.NATIVE = "a[href],a[*|href],area[href],button,input:not([type=hidden]),select,textarea,summary,option,label,video[controls],audio[controls]";
  M.MARKED = "[role],[onclick],[onmousedown],[tabindex],[contenteditable]";
  const ROLES = new Set(("button link checkbox radio tab menuitem menuitemcheckbox menuitemradio option switch combobox " +
    "textbox searchbox slider spinbutton treeitem gridcell listbox").split(" "));
  const IMPLIED = { a: "link", area: "link", button: "button", select: "combobox", textarea: "textbox", summary: "button", option: "option", label: "label" };
  const INPUTS = { checkbox: "checkbox", radio: "radio", button: "button", submit: "button", reset: "button", image: "button", range: "slider", number: "spinbutton", search: "searchbox" };
  const PRESSED = new Set(["button", "submit", "reset", "image"]);
  const ELEMENTS = 3000;

  const roleOf = (M.roleOf = (e) => {
    const role = (D.attr(e, "role") || "").trim().split(/\s+/)[0].toLowerCase();
    if (role) return role;
    const tag = D.tag(e);
    if (tag === "input") return INPUTS[e.type] || "textbox";
    return IMPLIED[tag] || "";
  });

  const editor = (e) => e.isContentEditable === true && !(D.parent(e) && D.parent(e).isContentEditable);
  const kindOf = (M.kindOf = (e) => {
    if (D.matches(e, M.NATIVE)) return D.tag(e) === "label" && !e.control ? "" : "native";
    if (ROLES.has(roleOf(e))) return "role";
    if (editor(e)) return "native";
    if (D.has(e, "onclick") || D.has(e, "onmousedown") || (D.has(e, "tabindex") && e.tabIndex >= 0)) return "attribute";
    if (D.tag(e) === "canvas") return "canvas";
    const up = parentOf(e);
    if (getComputedStyle(e).cursor === "pointer" && !(up && getComputedStyle(up).cursor === "pointer")) return "cursor";
    return "";
  });
  M.strong = (e) => { const kind = kindOf(e); return kind === "native" || kind === "role"; };

  M.actionable = (leaf) => {
    for (let e = leaf; e && e !== document.documentElement; e = parentOf(e)) {
      // A body is a page, unless the page is an editor.
      const kind = e === D.body() ? (editor(e) ? "native" : "") : kindOf(e);
      if (kind) return [e, kind];
    }
    return document.designMode === "on" && D.body() ? [D.body(), "native"] : [null, ""];
  };

  // Text under a right-to-left override is painted from its end to its beginning, and is read as it is painted.
  const backwards = (text) => [...text].reverse().join("");
  const asPainted = (text) => text.replace(/\u202e([^\u202c]*)\u202c?/g, (all, inner) => backwards(inner));
  const clean = (M.clean = (text) => asPainted(text || "").replace(/\s+/g, " ").trim());

  // Text that style sheets write: `content: "Delete" attr(title)`.
  const generated = (e, pseudo) => {
    const content = getComputedStyle(e, pseudo).content;
    if (!content || content === "none" || content === "normal") return "";
    const parts = content.matchAll(/"((?:[^"\\]|\\.)*)"|attr\(\s*([\w-]+)[^)]*\)/g);
    return [...parts].map(([, text, name]) => (name ? D.attr(e, name) || "" : text.replace(/\\(.)/g, "$1"))).join("");
  };
  M.generated = (e) => generated(e, "::before") + generated(e, "::after");

  // What is shown in an element, in order: text, text of style sheets, names of images, across slots and open shadow roots.
  const shown = (e, said, budget) => {
    if (budget.left-- <= 0) return "";
    const style = getComputedStyle(e);
    if (style.display === "none") return "";
    const tag = D.tag(e);
    for (const name of ["aria-label", "title"]) if (D.attr(e, name)) said.push(clean(D.attr(e, name)));
    if (tag === "script" || tag === "style" || tag === "noscript" || tag === "template") return "";
    if (tag === "img" || tag === "area" || (tag === "input" && e.type === "image")) return " " + (D.attr(e, "alt") || "") + " ";
    if (tag === "input") return PRESSED.has(e.type) ? e.value : "";
    if (tag === "textarea" || tag === "select") return "";
    if (tag === "svg") { const title = D.all(e, "title")[0]; return ` ${title ? D.textContent(title) : ""} ${symbolTitle(e)} ${svgText(e)} `; }
    const root = D.shadow(e);
    const given = tag === "slot" ? e.assignedNodes() : [];
    let text = generated(e, "::before");
    for (const node of root ? root.childNodes : given.length ? given : D.nodes(e)) {
      if (node.nodeType === 3) text += style.visibility === "visible" ? node.data : "";
      else if (node.nodeType === 1) text += shown(node, said, budget);
    }
    text += generated(e, "::after");
    if (style.direction === "rtl" && style.unicodeBidi.includes("override")) text = backwards(text);
    const within = budget.apart ? /^(inline|contents|ruby)$/.test(style.display) : /^(inline|contents|ruby)/.test(style.display);
    return within && tag !== "br" ? text : ` ${text} `;
  };
  // An icon from a sheet of symbols is called as its symbol is.
  const symbolTitle = (e) => [...D.all(e, "use")].map((use) => {
    const id = (D.attr(use, "href") || use.getAttributeNS("http://www.w3.org/1999/xlink", "href") || "").replace(/^#/, "");
    const symbol = id && D.root(use).getElementById ? D.root(use).getElementById(id) : null;
    const title = symbol && D.all(symbol, "title")[0];
    return title ? D.textContent(title) : "";
  }).join(" ");
  const svgText = (e) => [...D.all(e, "text")].map((t) => D.textContent(t)).join(" ");
  // Returns [what is shown, what is only said or shown on hovering]. `apart`: boxes within a line are words of their own (two buttons).
  M.wordsOf = (e, apart) => {
    const said = [], budget = { left: ELEMENTS, apart };
    let text = shown(e, said, budget);
    if (budget.left <= 0) text += " " + (e.innerText === undefined ? D.textContent(e) : e.innerText);
    return [clean(text), said];
  };

  const textOf = (e, attribute) => clean((D.attr(e, attribute) || "").split(/\s+/).filter(Boolean)
    .map((id) => { const other = D.root(e).getElementById ? D.root(e).getElementById(id) : null; return other ? M.wordsOf(other)[0] || D.textContent(other) : ""; }).join(" "));

  // What stands around an element: its line, its row, its card, and not the page.
  const NEARBY = 200, OUTWARDS = 6;
  M.around = (e) => {
    let found = "";
    for (let up = parentOf(e), level = 0; up && level < OUTWARDS; up = parentOf(up), level += 1) {
      const text = M.wordsOf(up)[0];
      if (text.length > NEARBY) break;
      found = text;
    }
    return found;
  };

  // What an element is told to do in attributes that are words: `command`, Rails' data-method, htmx.
  M.commandsOf = (e) => [D.attr(e, "command"), D.attr(e, "data-method"), D.has(e, "hx-delete") ? "delete" : ""]
    .filter(Boolean).map((text) => clean(text.replace(/([a-z])([A-Z])/g, "$1 $2").replace(/[-_]+/g, " ")));

  // What is said of an element besides its name.
  M.describedAs = (e) => [textOf(e, "aria-describedby"), clean(D.attr(e, "aria-description"))].filter(Boolean);

  // Only actionable elements get a name, and a container is never named by the text inside it.
  M.nameOf = (e, kind, words) => {
    const given = textOf(e, "aria-labelledby") || clean(D.attr(e, "aria-label"));
    if (given) return given;
    const tag = D.tag(e);
    if (tag === "input" || tag === "select" || tag === "textarea") {
      if (["button", "submit", "reset"].includes(e.type)) return clean(e.value) || (e.type === "button" ? "" : e.type[0].toUpperCase() + e.type.slice(1));
      const labels = e.labels ? [...e.labels].map((l) => M.wordsOf(l)[0]).join(" ") : "";
      return clean(labels) || clean(e.alt) || clean(e.placeholder) || clean(e.title) || clean(e.name);
    }
    if (tag === "area") return clean(D.attr(e, "alt")) || clean(D.attr(e, "title"));
    const [text, said] = words || M.wordsOf(e);
    if (kind !== "native" && kind !== "role" && (text.length > 120 || D.all(e, M.NATIVE).length > 0)) return "";
    return text || said[0] || "";
  };

  // Quick to make for thousands of elements: two of them differ where a person would read something else.
  M.signOf = (e) => {
    const text = D.tag(e) === "input" && PRESSED.has(e.type) ? e.value : e.innerText === undefined || typeof e.innerText !== "string" ? D.textContent(e) : e.innerText;
    return clean([D.attr(e, "aria-label"), text, D.attr(e, "title"), D.attr(e, "alt"), D.attr(e, "href"), M.generated(e)].join("\n"));
  };

  // The same signs and codes as in `risk.py`.
  const CURRENCY = "(?:[$£¤¥฿\u20a0-\u20c0]|(?<![\\p{L}\\d])(?:eur|usd|gbp|chf|jpy|cny|rmb|inr|brl|cad|aud|nzd|sek|nok|dkk|pln|czk|huf|krw|mxn|kr|zł|kč|euros?|dollars?|francs?|rupees?|yen)(?!\\p{L}))";
  const NUMBER = "\\d[\\d.,]*(?:[ '\u2019]\\d{3})*";
  const AMOUNT = new RegExp(`${CURRENCY}\\s?${NUMBER}|${NUMBER}\\s?${CURRENCY.replace("(?<![\\p{L}\\d])", "")}`, "giu");
  M.pricesIn = (text) => text.match(AMOUNT) || [];
  // A label without the numbers that count on by themselves; a price is no such number.
  M.calm = (text) => (M.pricesIn(text).length ? text : text.replace(/\d+/g, "0"));
})();
