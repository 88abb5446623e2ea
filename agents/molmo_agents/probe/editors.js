// Editors that show their text in elements of their own and take keys in a text area that nobody sees (CodeMirror 5, Ace, Monaco).
(() => {
  const M = globalThis.molmo;
  if (!M || M.editorAt) return;
  const D = M.dom;
  const FIELDS = "textarea,input,select,[contenteditable]";
  const UNSEEN_PX = 4, FAR = 12;

  const thin = (r) => r.width <= UNSEEN_PX || r.height <= UNSEEN_PX;
  const unseen = (e, root) => {
    let opacity = 1;
    for (let up = e; up && up !== root; up = M.parentOf(up)) {
      const style = getComputedStyle(up);
      opacity *= parseFloat(style.opacity);
      if ((up === e || style.overflow !== "visible") && thin(D.rect(up))) return true;
    }
    return opacity < 0.1;
  };
  const takesText = (e) => (D.tag(e) === "textarea" || e.isContentEditable === true) && !e.readOnly && !D.matches(e, ":disabled");

  // The editor around what lies at the point: the nearest element with a text area in it. That one is unseen, and the only field.
  const find = () => {
    let root = M.leaf;
    for (let n = 0; root && root !== D.body() && n < FAR; n += 1, root = M.parentOf(root)) {
      if (D.tag(root) === "form" || M.strong(root)) return null;
      const fields = [...D.all(root, FIELDS)];
      if (!fields.length) continue;
      return fields.length === 1 && takesText(fields[0]) && unseen(fields[0], root) ? { root, field: fields[0], up: n } : null;
    }
    return null;
  };
  let editor = null;
  M.editorAt = () => { editor = find(); return Boolean(editor); };
  // How many elements outwards from the innermost one it begins, or -1.
  M.editorUp = () => (M.editorAt() ? editor.up : -1);

  // The editor gave its text area the focus: what is typed goes there.
  M.enterEditor = () => {
    if (!editor || !D.connected(editor.field) || !document.hasFocus() || M.activeNow() !== editor.field) return false;
    M.typeInto(editor.field);
    return true;
  };

  const ASIDE = "[class*=gutter i],[class*=linenumber i],[class*=line-number i]";
  const aside = (e) => {
    for (let up = e; up && up !== editor.root; up = D.parent(up)) {
      const style = getComputedStyle(up);
      if (style.display === "none" || style.visibility === "hidden" || D.matches(up, ASIDE)) return true;
    }
    return M.contains(editor.field, e);
  };
  // What the editor shows, without line numbers. Blocks end lines.
  M.editorText = () => {
    const walker = document.createTreeWalker(editor.root, NodeFilter.SHOW_TEXT);
    let text = "", block = null;
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const up = D.parent(node);
      if (!up || aside(up)) continue;
      let now = up;
      while (now !== editor.root && getComputedStyle(now).display.startsWith("inline")) now = D.parent(now);
      if (block && now !== block) text += "\n";
      block = now;
      text += node.data.replace(/[\u200b-\u200d\ufeff]/g, "").replace(/\u00a0/g, " ");
    }
    return text;
  };
})();
