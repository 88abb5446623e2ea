// Drags and drops: where the goal is now, what follows the pointer, whether anything came of it, and drop zones for files.
(() => {
  const M = globalThis.molmo;
  if (!M || M.aimGoal) return;
  const D = M.dom;
  const near = (a, b) => Math.abs(a - b) <= 2;

  // All that a goal says; [] where it is gone.
  M.goalSays = () => { const e = M.goal; if (!e || !D.connected(e)) return []; const [text, said] = M.wordsOf(e); return [text, ...said, ...M.describedAs(e)].filter(Boolean); };
  M.aimGoal = (x, y) => { const r = M.wholeOf(M.target); M.goal = M.target; M.goalAt = [x - r.left, y - r.top]; return true; };

  // What lies over the goal, with where it was when the pointer was last asked about it: what moved along with the pointer since
  // then is what is dragged, or the page's own image of it. `dragged`: the goal is in the document of what is dragged.
  let over = new Map();
  const follows = (e, by) => { const r = over.get(e), now = D.rect(e); return Boolean(r) && by !== 0 && near(now.left - r.left, by) && near(now.top, r.top); };
  M.goalNow = (dragged, by) => {
    const e = M.goal;
    if (!e || !D.connected(e)) return { gone: true };
    const r = M.wholeOf(e), x = r.left + M.goalAt[0], y = r.top + M.goalAt[1], skip = dragged ? M.dragged : null;
    const stack = M.stackAt(document, x, y);
    const carried = (one) => (skip && M.contains(skip, one) && !M.contains(skip, e)) || stack.some((top) => follows(top, by) && M.contains(top, one) && !M.contains(top, e));
    const leaf = stack.find((one) => !carried(one) && getComputedStyle(one).pointerEvents !== "none");
    over = new Map(stack.map((one) => [one, D.rect(one)]));
    const deep = leaf && D.shadow(leaf) ? M.leafAt(x, y) : leaf;
    const on = Boolean(deep) && (M.contains(e, deep) || (M.contains(deep, e) && !M.kindOf(deep)));
    return { x, y, on, other: on || !deep ? "" : `<${D.tag(deep)}> ${M.wordsOf(deep)[0].slice(0, 60)}` };
  };

  // What the page was like before a drag, to say afterwards whether anything came of it.
  const DRAWN = new Set(["canvas", "video", "embed", "object"]);
  const pageText = () => { const body = D.body(); return body ? body.innerText : ""; };
  const placeOf = (e) => { const r = M.wholeOf(e); return [r.left + scrollX, r.top + scrollY, r.width, r.height]; };
  const goalHtml = () => (M.goal && D.connected(M.goal) ? M.goal.outerHTML : "");
  let before = null;
  M.drags = () => {
    const e = M.target;
    M.dragged = e;
    before = { text: pageText(), place: placeOf(e), parent: M.parentOf(e), after: D.parent(e) ? e.nextElementSibling : null, mutations: M.mutations, value: M.valueOf(e), scroll: [scrollX, scrollY], goal: goalHtml() };
    return true;
  };
  // `followed`: the page did something while the button was held. `back`: all is as it was before.
  M.cameOf = () => {
    const e = M.dragged, b = before;
    if (!b || !D.connected(e) || DRAWN.has(D.tag(e))) return { followed: true, back: false };
    const changed = M.valueOf(e) !== b.value || scrollX !== b.scroll[0] || scrollY !== b.scroll[1];
    const place = placeOf(e), still = place.every((v, i) => near(v, b.place[i])) && M.parentOf(e) === b.parent && e.nextElementSibling === b.after;
    return { followed: changed || M.mutations > b.mutations, back: !changed && still && pageText() === b.text && goalHtml() === b.goal, place: place.join() };
  };

  // Whether the document takes what is dragged over it now: a page says so by preventing the default of dragover. `cover`: it is
  // taken by what the page laid over the place when the files came (a sheet over the whole window).
  let taken = false, cover = null, under = new Set();
  const laidOver = (top) => {
    if (!(top instanceof Element) || under.has(top)) return null;
    let e = top;
    for (let up = M.parentOf(e); up && !under.has(up) && !M.contains(up, M.zone); up = M.parentOf(up)) e = up;
    return M.contains(e, M.zone) ? null : e;
  };
  const heard = (event) => {
    const path = event.composedPath(), on = path.includes(M.zone), over = on ? null : laidOver(path[0]);
    setTimeout(() => { taken = (on || Boolean(over)) && event.defaultPrevented; cover = over; });
  };
  M.watchZone = (x, y) => {
    M.zone = M.target; taken = false; cover = null;
    // An element that was there but did not show (opacity, no pointer events) is in the page's stack, not in the pointer's.
    under = new Set(M.stackAt(document, x, y));
    window.addEventListener("dragover", heard, { capture: true });
    return true;
  };
  M.leaveZone = () => { window.removeEventListener("dragover", heard, { capture: true }); if (taken && cover) M.target = cover; return { taken, cover: taken && Boolean(cover) }; };
})();
