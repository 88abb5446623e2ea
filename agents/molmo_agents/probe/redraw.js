// Pages that redraw a part of themselves although nothing in it changed: each control there stands for the one it replaces.
(() => {
  const M = globalThis.molmo;
  if (!M || M.redrawn) return;
  const D = M.dom;
  const MOST = 200000;
  const heirs = new WeakMap();

  const html = (nodes) => {
    let text = "";
    for (const node of nodes) text += node.nodeType === 1 ? node.outerHTML : node.nodeType === 3 ? node.data : "";
    return text;
  };
  const elements = (nodes) => nodes.filter((node) => node.nodeType === 1).flatMap((node) => [node, ...D.all(node, "*")]);
  const inherit = (old, now) => {
    const before = M.seen.get(old);
    if (before) M.seen.set(now, before);
    if (M.target === old) M.target = now;
    if (M.kept === old && !M.keptStrictly) M.kept = now;
    if (M.aimed === old) M.aimed = now;
    for (const entry of M.held || []) if (entry[0] === old) entry[0] = now;
    if (M.guardHeir) M.guardHeir(old, now);
    heirs.set(old, now);
  };
  // The element itself, or the one drawn in its stead.
  M.heirOf = (e) => { let now = e; while (heirs.has(now)) now = heirs.get(now); return now; };

  // What was taken out of an element and what was put into it in one go: the same to the letter, or not a redrawing.
  M.redrawn = (records) => {
    const changed = new Map();
    for (const { type, target, removedNodes, addedNodes } of records) {
      if (type !== "childList") continue;
      const entry = changed.get(target) || { out: [], in: [] };
      entry.out.push(...removedNodes);
      entry.in.push(...addedNodes);
      changed.set(target, entry);
    }
    for (const entry of changed.values()) {
      const gone = entry.out.filter((node) => !node.isConnected), come = entry.in.filter((node) => node.isConnected);
      if (!gone.some((node) => node.nodeType === 1)) continue;
      const before = html(gone);
      if (before.length > MOST || before !== html(come)) continue;
      const old = elements(gone), now = elements(come);
      if (old.length === now.length) old.forEach((e, i) => inherit(e, now[i]));
    }
  };
})();
