// The press itself: wait until the element stands still under the pointer, then let only the right events through.
(() => {
  const M = globalThis.molmo;
  if (!M || M.arm) return;

  // Hidden or throttled pages draw no frames; a timer keeps the wait finite.
  const nextFrame = (f) => {
    let done = false;
    const once = () => { if (!done) { done = true; f(); } };
    requestAnimationFrame(once);
    setTimeout(once, 150);
  };
  M.frames2 = (n) => new Promise((resolve) => { const step = () => (n-- > 0 ? nextFrame(step) : resolve(true)); step(); });

  // From the element outwards: each closed root with the node that stands for the element in it, then the document.
  const levels = (target) => {
    const inner = [];
    let outer = target;
    for (let root = target && target.getRootNode(); root instanceof ShadowRoot; root = root.host.getRootNode()) {
      // Seen from outside, what happens in a closed root happens at its host.
      if (root.mode === "closed") { inner.push([root, outer]); outer = root.host; }
    }
    return { inner, outer };
  };
  const climbs = (leaf, node) => { for (let e = leaf; e; e = M.parentOf(e)) if (e === node) return true; return false; };
  const under = (x, y, target) => {
    const { inner, outer } = levels(target);
    return climbs(M.leafAt(x, y), outer) && inner.every(([root, node]) => climbs(M.leafAt(x, y, root), node));
  };

  M.stable = (x, y, frames, ms) => new Promise((resolve) => {
    const expected = M.target, start = performance.now();
    let count = 0, seen = 0, last = "";
    const tick = () => {
      const on = under(x, y, expected);
      const r = expected.getBoundingClientRect(), now = [r.left, r.top, r.width, r.height].map(Math.round).join();
      count = on && now === last ? count + 1 : 0;
      last = now;
      seen += 1;
      if (count >= frames) return resolve({ stable: true });
      // On a busy machine a second may be three frames: nothing is known by then.
      if (performance.now() - start > ms && seen > 4 * frames) return resolve({ stable: false, on });
      nextFrame(tick);
    };
    tick();
  });

  const TYPES = ["pointerdown", "mousedown", "pointerup", "mouseup", "click", "auxclick", "dblclick", "contextmenu", "dragstart", "drop", "dragend", "keydown"];
  let guard = null;

  const judge = (event, node) => {
    if (!guard || !event.isTrusted || guard.expired) return;
    const inPath = Boolean(node) && event.composedPath().includes(node);
    // A press that began elsewhere is stopped whole: the page's handlers never see any of its events.
    if (!guard.down && !guard.blocked && !inPath) {
      const top = event.composedPath()[0];
      guard.blocked = true;
      guard.other = top && top.localName ? top.localName + (top.id ? "#" + top.id : "") : "?";
    }
    if (guard.blocked) { event.preventDefault(); event.stopImmediatePropagation(); return; }
    if (event.type === "pointerdown" || event.type === "mousedown") guard.down = true;
    const entry = event.type + (inPath ? "" : "!");
    guard.log.push(entry);
    // Told at once: the document may be gone before anybody can ask it.
    if (globalThis.molmoTell) molmoTell(JSON.stringify({ document: M.document, entry }));
  };
  const passive = (event) => judge(event, guard && guard.outer);
  for (const type of TYPES) window.addEventListener(type, passive, { capture: true });

  // `keys`: only watch, since Enter in a field makes the browser itself click the form's button.
  // `target` null: any press that lands in this document is a wrong one (it should have gone to a frame inside).
  M.arm = (target, keys) => {
    M.disarm();
    const { inner: roots, outer } = levels(target);
    guard = { target, outer, log: [], blocked: false, down: Boolean(keys), other: "", inner: [] };
    for (const [root, node] of roots) {
      const listener = (event) => judge(event, node);
      for (const type of TYPES) root.addEventListener(type, listener, { capture: true });
      guard.inner.push([root, listener]);
    }
    M.before = { mutations: M.mutations, focus: document.activeElement, scroll: [scrollX, scrollY], url: location.href, value: target ? valueOf(target) : null };
    return true;
  };

  M.disarm = () => {
    if (guard) for (const [root, listener] of guard.inner) for (const type of TYPES) root.removeEventListener(type, listener, { capture: true });
    guard = null;
  };

  const valueOf = (e) => {
    const control = e.localName === "label" && e.control ? e.control : e;
    if (control.type === "checkbox" || control.type === "radio") return String(control.checked);
    if (control.type === "password") return control.value ? "(hidden)" : "";
    return control.value === undefined || typeof control.value !== "string" ? control.getAttribute("aria-checked") : control.value;
  };
  M.valueOf = valueOf;

  M.collect = () => {
    const g = guard || { log: [], blocked: false, target: null, other: "" }, b = M.before || {};
    const active = document.activeElement;
    const now = g.target ? valueOf(g.target) : null;
    return {
      document: M.document, armed: Boolean(guard), log: g.log, blocked: g.blocked, other: g.other, early: M.early,
      removed: Boolean(g.target) && !g.target.isConnected, mutations: M.mutations - (b.mutations || 0),
      focus: active && active !== b.focus && active !== document.body ? active.localName + " " + M.nameOf(active, "native") : "",
      value: now !== null && now !== b.value ? now : null, scrolled: Boolean(b.scroll) && (b.scroll[0] !== scrollX || b.scroll[1] !== scrollY),
      url: location.href, moved: b.url !== undefined && b.url !== location.href,
    };
  };
})();
