// What is painted at a point is asked of the renderer: an element is made clear while a screenshot is taken. Animations change
// neither the tree nor any attribute, so nothing that watches the page's tree sees it.
(() => {
  const M = globalThis.molmo;
  if (!M || M.hide) return;
  const D = M.dom;
  let hidden = [];

  // An element without a box of its own paints through its children.
  const painters = (e) => (getComputedStyle(e).display === "contents" ? [...e.children].flatMap(painters) : [e]);
  // `how`: "clear" it, or draw all it draws "black" or "white": a white frame on a white page can be seen by that alone. Cleared twice
  // over, since a style sheet may insist on one property (`!important` is stronger than any animation).
  const HOW = {
    clear: { opacity: 0, clipPath: "inset(50%)" }, black: { filter: "brightness(0)" }, white: { filter: "brightness(0) invert(1)" },
  };
  const PSEUDO = ["::before", "::after"];
  const isClear = (e, pseudo) => { const s = getComputedStyle(e, pseudo); return s.opacity === "0" || s.clipPath === "inset(50%)"; };
  // Returns whether it took effect.
  M.hide = (what, how) => {
    const elements = what === "target" ? [M.target] : what === "cover" ? [M.cover] : what === "others" ? M.others : [M.others[what]];
    let done = true;
    for (const e of elements.filter((one) => one && D.connected(one)).flatMap(painters)) {
      for (const pseudoElement of what === "cover" && M.coverIsDrawn ? PSEUDO : [undefined]) {
        const clear = e.animate([HOW[how], HOW[how]], { duration: 1e9, fill: "both", pseudoElement });
        clear.pause();
        hidden.push(clear);
        if (how === "clear" && !isClear(e, pseudoElement) && (!pseudoElement || getComputedStyle(e, pseudoElement).content !== "none")) done = false;
      }
    }
    return done;
  };
  M.show = () => { for (const clear of hidden) clear.cancel(); hidden = []; return true; };

  // What lies on top (an element, a text, a `::after`), also where it lets presses through: the outermost element of it that the target is not in, or what an element
  // around the target draws over its own content (`::after`), or nothing.
  M.coveredBy = (top) => {
    let e = top instanceof Element ? top : top instanceof Node ? D.parent(top) : top.element || null;
    M.cover = null;
    M.coverIsDrawn = Boolean(e) && e !== M.target && M.contains(e, M.target);
    if (!e || (!M.coverIsDrawn && M.related(e, M.target))) return false;
    if (!M.coverIsDrawn) for (let up = M.parentOf(e); up && !M.contains(up, M.target); up = M.parentOf(up)) e = up;
    M.cover = e;
    return true;
  };
  M.coverName = () => `<${D.tag(M.cover)}> ${(M.coverIsDrawn ? M.clean(M.generated(M.cover)) : M.wordsOf(M.cover)[0]).slice(0, 80)}`;
})();
