// What a press acts on besides the element's own words: the row or card it stands in, and the attributes that say what it does.
(() => {
  const M = globalThis.molmo;
  if (!M || M.rowOf) return;
  const D = M.dom;
  const ROW_TEXT = 200, RECORD_TEXT = 2000, ROW_LEVELS = 8;

  // The record an element belongs to. Where others of its kind that say the same stand around (the Delete buttons of a list), they say
  // where it ends, however long it is; otherwise it is the largest part of the page around it that is short. `alike`: those others,
  // where they are known already.
  M.rowOf = (e, alike) => {
    const sign = alike ? "" : M.signOf(e), tag = D.tag(e);
    const another = (up) => (alike ? alike.some((o) => D.holds(up, o)) : [...D.all(up, tag)].some((o) => o !== e && !D.holds(e, o) && M.signOf(o) === sign));
    const lengthOf = (up) => (alike || D.textContent(up).length > 8 * RECORD_TEXT ? M.clean(D.textContent(up)) : M.wordsOf(up)[0]).length;
    let row = e, record = e;
    for (let up = M.parentOf(e), level = 0; up && up !== document.documentElement && level < ROW_LEVELS; up = M.parentOf(up), level += 1) {
      if (another(up)) return record;
      // A page whose every word fits into a row is one.
      const length = up === D.body() && alike ? Infinity : lengthOf(up);
      if (length > RECORD_TEXT) break;
      record = up;
      if (length <= ROW_TEXT) row = up;
    }
    return row;
  };

  // The words of a row: not a clock, not a time that runs ("9 s", "10sec", "9 / 10 sec").
  const CLOCK = /^\W*\d+(:\d+)+\W*$/, AMOUNT = "\\d+(?:[.,]\\d+)?", UNIT = "s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?";
  const RUNNING = new RegExp(`(?<![\\p{L}\\d.,:])${AMOUNT}(?:\\s*/\\s*${AMOUNT})?\\s?(?:${UNIT})(?![\\p{L}\\d])`, "giu");
  const wordsIn = (text) => text.replace(RUNNING, " ").split(" ").filter((w) => w && !CLOCK.test(w));

  // Controls that say the same are told apart by their rows: a list that recycles its elements moves its people, not its buttons.
  M.rememberRows = (seen) => {
    const groups = new Map();
    for (const [e, entry] of seen) if (entry.sign) groups.has(entry.sign) ? groups.get(entry.sign).push(e) : groups.set(entry.sign, [e]);
    for (const group of groups.values()) {
      if (group.length < 2) continue;
      group.forEach((e, i) => {
        const row = M.rowOf(e, [group[i - 1], group[i + 1]].filter(Boolean));
        if (row !== e) Object.assign(seen.get(e), { row, words: rowWords(row) });
      });
    }
  };
  const rowWords = (row) => wordsIn(M.clean(D.textContent(row))).join(" ");
  M.sameRow = (entry) => !entry.row || (D.connected(entry.row) && rowWords(entry.row) === entry.words);

  // Attributes of the element that decide what a press does; one that comes is as much another action as one that changes.
  const DECIDES = ["command", "commandfor", "popovertarget", "popovertargetaction", "onclick", "onmousedown", "onpointerdown", "name", "value", "formaction", "form"];
  // Attributes that scripts read when they handle a press, there and on the row around; not those that say how things look now.
  const READ = /^(data-|hx-|phx-|wire:|x-on:|v-on:|@|ng-|jsaction|action|id$)/;
  const LOOKS = /(^|[-_:.])(?:\w+state|(?:state|hover|focus|active|press|open|side|align|tooltip|theme|status|highlight|visible|load|anim|animat|ripple|title|time|timer|count|counter|countdown|tick|scroll|progress|placement|floating|popper|original)(?:e?d|s|ing|ion)?)([-_:.]|$)/;
  const attributes = (e) => [...D.attributes(e)].filter((a) => READ.test(a.name) && !LOOKS.test(a.name));

  // Everything of this that must still be there when the press comes, as a list: words and attributes may be added to a row.
  M.actsOn = (e) => {
    const control = M.controlOf(e), row = M.rowOf(e), found = [];
    for (const name of DECIDES) found.push(`${name}=${D.attr(control, name) === null ? "" : D.attr(control, name)}`);
    // What a list's options mean is their values.
    if (D.tag(control) === "select") for (const o of control.options) found.push(`option ${o.value}=${o.label || o.text}`);
    for (let up = e, level = 0; up; up = M.parentOf(up), level += 1) {
      for (const a of attributes(up)) found.push(`${level}.${a.name}=${a.value}`);
      if (up === row) break;
    }
    if (row !== e) {
      const words = wordsIn(M.wordsOf(row, true)[0]), own = wordsIn(M.wordsOf(e, true)[0]);
      const labels = [row, ...D.all(row, "[aria-label]")].map((o) => D.attr(o, "aria-label") || "");
      found.push(...[...words, ...labels.flatMap(wordsIn)].map((w) => "word " + w));
      // A row without words is told apart by its picture.
      if (words.length <= own.length) for (const image of D.all(row, "img,video")) found.push("image " + (D.attr(image, "src") || D.attr(image, "poster") || ""));
    }
    return [...new Set(found)];
  };
})();
