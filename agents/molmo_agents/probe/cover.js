// What is painted at a point is asked of the renderer: an element is made clear while a screenshot is taken. Animations change
// neither the tree nor any attribute, so nothing that watches the page's tree sees it.
(() => {
  const M = globalThis.molmo;
  if (!M || M.hide) return;
  const D = M.dom;
  let hidden = [];

  // An element without a box of its own paints through its children.
  const painters = (e) => (getComputedStyle(e).display === "contents" ? [...e.children].flatMap(painters) : [e]);
  // `how`: "clear" it, or draw all it draws "black" or "white": a white frame on a white page can be seen by that alone.
  const HOW = { clear: { opacity: 0 }, black: { filter: "brightness(0)" }, white: { filter: "brightness(0) invert(1)" } };
  M.hide = (what, how) => {
    const elements = what === "target" ? [M.target] : what === "cover" ? [M.cover] : what === "others" ? M.others : [M.others[what]];
    for (const e of elements.filter((one) => one && D.connected(one)).flatMap(painters)) {
      const clear = e.animate([HOW[how], HOW[how]], { duration: 1e9, fill: "both" });
      clear.pause();
      hidden.push(clear);
    }
    return hidden.length;
  };
  M.show = () => { for (const clear of hidden) clear.cancel(); hidden = []; return true; };

  // What lies on top, also where it lets presses through: the outermost element of it that the target is not in, or nothing.
  M.coveredBy = (top) => {
    let e = top instanceof Element ? top : D.parent(top);
    M.cover = null;
    if (!e || M.related(e, M.target)) return false;
    for (let up = M.parentOf(e); up && !M.contains(up, M.target); up = M.parentOf(up)) e = up;
    M.cover = e;
    return true;
  };
  M.coverName = () => `<${D.tag(M.cover)}> ${M.wordsOf(M.cover)[0].slice(0, 80)}`;
})();
