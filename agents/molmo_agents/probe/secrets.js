// Boxes of a document that are black in every screenshot, whatever they hold: password fields, fields a secret was typed into, and
// canvases of a page that was given one, since nobody can read what those draw. Other places are found in the browser's layout.
(() => {
  const M = globalThis.molmo;
  if (!M || M.conceal) return;
  const concealed = new Set();
  const box = (e) => { const r = e.getBoundingClientRect(); return { x: r.left, y: r.top, width: r.width, height: r.height }; };
  const all = function* (selector, root = document) {
    yield* root.querySelectorAll(selector);
    for (const e of root.querySelectorAll("*")) if (e.shadowRoot) yield* all(selector, e.shadowRoot);
  };

  // The field last hit holds a secret from now on. Kept here too, since one in a closed shadow root is found no other way.
  M.conceal = () => { const e = M.field(); if (e) concealed.add(e); return Boolean(e); };

  M.masks = (canvases) => {
    const boxes = [];
    for (const e of all("input[type=password i]")) if (e.value) boxes.push(box(e));
    for (const e of concealed) if (e.isConnected) boxes.push(box(e)); else concealed.delete(e);
    if (canvases) for (const e of all("canvas")) boxes.push(box(e));
    return boxes;
  };

  M.frameBoxes = () => M.frames.map(box);
})();
