// The press itself: wait until the element stands still under the pointer, then let only the right events through.
(() => {
  const M = globalThis.molmo;
  if (!M || M.arm) return;
  const D = M.dom;

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
    for (let root = target && D.root(target); root instanceof ShadowRoot; root = D.root(root.host)) {
      // Seen from outside, what happens in a closed root happens at its host.
      if (root.mode === "closed") { inner.push([root, outer]); outer = root.host; }
    }
    return { inner, outer };
  };
  const under = (x, y, target) => {
    const { inner, outer } = levels(target);
    return M.contains(outer, M.leafAt(x, y)) && inner.every(([root, node]) => M.contains(node, M.leafAt(x, y, root)));
  };

  // A button that breathes (a pulse, a glow) never stands still, but its middle does: the part that all recent boxes share.
  const BREATHS = 12;
  const breathes = (boxes, x, y) => {
    const left = Math.max(...boxes.map((b) => b[0])), top = Math.max(...boxes.map((b) => b[1]));
    const right = Math.min(...boxes.map((b) => b[0] + b[2])), bottom = Math.min(...boxes.map((b) => b[1] + b[3]));
    const most = Math.max(...boxes.map((b) => b[2] * b[3]));
    return boxes.length >= BREATHS && x > left && x < right && y > top && y < bottom && (right - left) * (bottom - top) > 0.6 * most;
  };
  M.stable = (x, y, frames, ms) => new Promise((resolve) => {
    let expected = M.target;
    const start = performance.now(), boxes = [];
    // A page that caught the pointer gets no press at any place.
    if (document.pointerLockElement) document.exitPointerLock();
    let count = 0, seen = 0, last = "";
    const tick = () => {
      expected = M.heirOf(expected);
      const on = under(x, y, expected);
      const r = M.wholeOf(expected), now = [r.left, r.top, r.width, r.height].map(Math.round).join();
      count = on && now === last ? count + 1 : 0;
      last = now;
      seen += 1;
      boxes.push([r.left, r.top, r.width, r.height]);
      if (!on) boxes.length = 0;
      if (boxes.length > BREATHS) boxes.shift();
      if (count >= frames || breathes(boxes, x, y)) return resolve({ stable: true });
      // On a busy machine a second may be three frames: nothing is known by then.
      if (performance.now() - start > ms && seen > 4 * frames) return resolve({ stable: false, on });
      nextFrame(tick);
    };
    tick();
  });

  const KEYS = ["keydown", "keypress", "keyup"];
  const TYPES = ["pointerdown", "mousedown", "pointerup", "mouseup", "click", "auxclick", "dblclick", "contextmenu", "dragstart", "drop", "dragend", ...KEYS];
  let guard = null;

  const nameOfTop = (event) => {
    const top = event.composedPath()[0];
    return top && top.localName && typeof top.localName === "string" ? top.localName + (top.id && typeof top.id === "string" ? "#" + top.id : "") : "?";
  };
  const tell = (entry) => {
    guard.log.push(entry);
    // Told at once: the document may be gone before anybody can ask it.
    if (globalThis.molmoTell) molmoTell(JSON.stringify({ document: M.document, entry }));
  };
  const stop = (event) => { event.preventDefault(); event.stopImmediatePropagation(); };

  // What was looked at, and maybe agreed to, must still say the same when the press begins.
  const meansSomethingElse = () => {
    if (!guard.meaning || !guard.target || !D.connected(guard.target)) return false;
    const now = M.meaningOf(guard.target, guard.kind);
    if (!guard.terms) return M.calm(now) !== M.calm(guard.meaning);
    const terms = M.terms(guard.target);
    return now !== guard.meaning || terms.sends !== guard.terms.sends || (guard.terms.prices !== null && terms.prices !== guard.terms.prices)
      || !guard.terms.acts.every((one) => terms.acts.includes(one));
  };
  M.guardHeir = (old, now) => {
    if (!guard || guard.terms || guard.down || guard.target !== old) return;
    guard.target = now;
    if (guard.outer === old) guard.outer = now;
  };

  const judge = (event, node) => {
    if (!guard || !event.isTrusted) return;
    const path = event.composedPath();
    const inPath = Boolean(node) && path.includes(node);
    if (guard.keys && KEYS.includes(event.type)) return judgeKey(event, inPath);
    // A press that began elsewhere is stopped whole: the page's handlers never see any of its events.
    if (!guard.down && !guard.blocked && (!inPath || (node === guard.outer && meansSomethingElse()))) {
      guard.blocked = true;
      guard.other = inPath ? "the same element, but it says something else now" : nameOfTop(event);
    }
    if (guard.blocked) return stop(event);
    if (event.type === "pointerdown" || event.type === "mousedown") guard.down = true;
    const onGoal = guard.goal && path.includes(guard.goal) && ["drop", "pointerup", "mouseup"].includes(event.type);
    tell(event.type + (onGoal ? "@goal" : inPath ? "" : "!"));
    if (event.type === "dragstart") setTimeout(() => { if (guard && event.defaultPrevented) tell("dragstart-prevented"); });
  };

  // Keys go to the field, or to where the field hands them on by itself; anywhere else they would press or tell what nobody meant.
  const judgeKey = (event, inPath) => {
    const to = guard.inner.length ? null : event.composedPath()[0];
    if (!inPath && to && to instanceof Element && M.follows && M.follows(to)) inPath = true;
    if (!inPath) { guard.strayed = guard.strayed || nameOfTop(event); return stop(event); }
    tell(event.type);
  };
  const passive = (event) => judge(event, guard && guard.outer);
  for (const type of TYPES) M.listen(window, type, passive, { capture: true });

  // `how.keys`: judge where keys go, and only watch presses, since Enter in a field makes the browser itself click the form's button.
  // `target` null: any press that lands in this document is a wrong one (it should have gone to a frame inside).
  // `how.goal`: where a drag must end. `how.meaning`: what the element said when it was chosen; to the letter where `how.terms` says
  // what somebody agreed to besides: what is sent, and prices, null where they do not matter.
  M.arm = (target, how) => {
    M.disarm();
    const standing = M.listening();
    const { inner: roots, outer } = levels(target);
    guard = { target, outer, kind: how.kind || "", log: [], blocked: false, down: Boolean(how.keys || how.end), keys: Boolean(how.keys), strayed: "", other: "", inner: [], goal: how.goal ? M.goal : null, meaning: how.meaning || "", terms: how.terms || null };
    for (const [root, node] of roots) {
      const listener = (event) => judge(event, node);
      for (const type of TYPES) root.addEventListener(type, listener, { capture: true });
      guard.inner.push([root, listener]);
    }
    M.before = { mutations: M.mutations, focus: D.active(document), scroll: [scrollX, scrollY], url: location.href, value: target ? valueOf(target) : null };
    return { standing, document: M.document };
  };

  M.disarm = () => {
    if (guard) for (const [root, listener] of guard.inner) for (const type of TYPES) root.removeEventListener(type, listener, { capture: true });
    guard = null;
  };
  M.strayed = () => (guard ? guard.strayed : "");

  const valueOf = (e) => {
    const control = M.controlOf(e);
    if (control.type === "checkbox" || control.type === "radio") return String(control.checked);
    if (control.type === "password") return control.value ? "(hidden)" : "";
    return control.value === undefined || typeof control.value !== "string" ? D.attr(control, "aria-checked") : control.value;
  };
  M.valueOf = valueOf;

  // `last`: nothing more is asked of this press, and the listeners are disarmed.
  M.collect = (last) => {
    const g = guard || { log: [], blocked: false, target: null, other: "", strayed: "" }, b = M.before || {};
    const active = D.active(document);
    const now = g.target ? valueOf(g.target) : null;
    const seen = {
      document: M.document, armed: Boolean(guard), log: g.log, blocked: g.blocked, other: g.other, early: M.early, strayed: g.strayed,
      removed: Boolean(g.target) && !D.connected(g.target), redrawn: Boolean(g.target) && M.heirOf(g.target) !== g.target, mutations: M.mutations - (b.mutations || 0), guarded: M.listening(),
      focus: active && active !== b.focus && active !== D.body() ? D.tag(active) + " " + M.nameOf(active, "native") : "",
      value: now !== null && now !== b.value ? now : null, scrolled: Boolean(b.scroll) && (b.scroll[0] !== scrollX || b.scroll[1] !== scrollY),
      url: location.href, moved: b.url !== undefined && b.url !== location.href,
    };
    if (last) M.disarm();
    return seen;
  };
})();
