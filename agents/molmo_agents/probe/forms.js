// Where an element leads, and what a press or the Enter key would send.
(() => {
  const M = globalThis.molmo;
  if (!M || M.formFacts) return;
  const D = M.dom;
  const BUTTONS = "button,input[type=submit],input[type=button],input[type=image],[role=button]";
  const NEAR = 300;

  const absolute = (address) => { try { return new URL(address, document.baseURI).href; } catch (error) { return ""; } };
  // A link in SVG keeps its address in an object.
  M.linkOf = (e) => {
    const link = D.closest(e, "a[href],a[*|href],area[href]");
    if (!link) return { href: "", target: "", download: false };
    const plain = D.attr(link, "href") ?? link.getAttributeNS("http://www.w3.org/1999/xlink", "href");
    return { href: typeof link.href === "string" ? link.href : absolute(plain), target: D.attr(link, "target") || "", download: D.attr(link, "download") !== null };
  };

  const formOf = (e) => e.form || D.closest(e, "form");
  const submits = (M.submits = (e) => Boolean(formOf(e)) && (D.tag(e) === "button" ? e.type === "submit" : D.tag(e) === "input" && ["submit", "image"].includes(e.type)));

  // Without a form, what lies beside the field says what Enter does. A search field stands for itself: beyond the next other
  // field the buttons are that one's.
  const isSearch = (e) => e.type === "search" || M.roleOf(e) === "searchbox" || Boolean(D.closest(e, "search,[role=search]"));
  const FIELDS = "input:not([type=hidden],[type=submit],[type=button],[type=image],[type=reset]),textarea,[contenteditable]";
  const beside = (e) => {
    const here = M.wholeOf(e), search = isSearch(e);
    for (let up = M.parentOf(e), level = 0; up && level < 8; up = M.parentOf(up), level += 1) {
      if (search && [...D.all(up, FIELDS)].some((other) => !M.related(other, e) && D.rects(other).length)) return [];
      const near = [...D.all(up, BUTTONS)].filter((b) => {
        const r = M.wholeOf(b);
        return !M.related(b, e) && r.width && r.left < here.right + NEAR && r.right > here.left - NEAR && r.top < here.bottom + NEAR && r.bottom > here.top - NEAR;
      });
      if (near.length) return near.slice(0, 8);
    }
    return [];
  };

  M.formFacts = (e) => {
    const none = { form_texts: [], form_password: false, form_card: false, form_method: "", action: "" };
    const f = formOf(e);
    // What a screen keyboard calls Enter here.
    const enter = D.attr(e, "enterkeyhint") === "send" ? ["send"] : [];
    if (!f) return { ...none, form_texts: D.matches(e, "input,textarea,[contenteditable],[role=textbox],[role=combobox],[role=searchbox]") ? [...enter, ...beside(e).flatMap((b) => textsOf(b))] : [] };
    // A form's own list leaves its image buttons out.
    const fields = [...D.elements(f), ...[...D.all(f, "input[type=image]")].filter((i) => i.form === f)];
    for (const i of document.querySelectorAll("input[type=image][form]")) if (i.form === f && !fields.includes(i)) fields.push(i);
    const action = submits(e) && D.attr(e, "formaction") ? D.attr(e, "formaction") : D.attr(f, "action");
    return {
      form_texts: [...enter, ...fields.filter(submits).flatMap((b) => textsOf(b))],
      form_password: fields.some((i) => i.type === "password" && i.value),
      form_card: fields.some((i) => /^cc-|card.?num|cvc|cvv/i.test((i.autocomplete || "") + " " + (i.name || ""))),
      form_method: (submits(e) && D.attr(e, "formmethod")) || D.attr(f, "method") || "",
      action: action ? absolute(action) : location.href,
    };
  };
  const textsOf = (b) => { const words = M.wordsOf(b); return [M.nameOf(b, "native", words), words[0], ...words[1]].filter(Boolean); };

  // What a field says, as a form would send it: every chosen option, not the first alone; of editors their text.
  const CHOICES = "input:not([type=range]),textarea,select,[contenteditable]:not([contenteditable=false]),[role=textbox],[aria-checked],[aria-pressed],[role=tab][aria-selected]";
  const MOST_FIELDS = 200;
  const valueOf = (i) => {
    if (D.tag(i) === "select") return [...i.options].filter((o) => o.selected).map((o) => o.value);
    if (i.type === "file" && i.files) return [...i.files].map((f) => [f.name, f.size]);
    return typeof i.value === "string" && !i.isContentEditable ? i.value : i.isContentEditable ? D.textContent(i) : "";
  };
  const said = (i) => JSON.stringify([D.attr(i, "name"), valueOf(i), i.checked === true, D.matches(i, ":disabled"), D.attr(i, "aria-checked"), D.attr(i, "aria-pressed"), D.attr(i, "role") === "tab" && D.attr(i, "aria-selected")]);
  // Without a form, scripts read the fields beside: those in the smallest part of the page around an element that has any.
  const fieldsBeside = (e) => {
    for (let up = M.parentOf(e); up; up = M.parentOf(up)) {
      const fields = [...D.all(up, CHOICES)].filter((i) => !M.related(i, e));
      if (fields.length) return fields.length > MOST_FIELDS ? [] : fields;
    }
    return [];
  };

  // What a yes is bound to beside the element: the values that its form sends, the prices that stand nearest to it, and what it acts
  // on, the fields beside it included.
  const digest = (text) => { let n = 5381; for (const c of text) n = ((n * 33) ^ c.codePointAt(0)) >>> 0; return n.toString(36); };
  const LEVELS = 12;
  M.terms = (e = M.target) => {
    const control = M.controlOf(e), f = formOf(control);
    const sent = f ? [...new Set([...D.elements(f), ...D.all(f, CHOICES)])].map(said) : [];
    const beside = f ? [] : fieldsBeside(e).map((i, n) => `field ${n} ${said(i)}`);
    let prices = [];
    for (let up = e, level = 0; up && level < LEVELS && !prices.length; up = M.parentOf(up), level += 1) prices = M.pricesIn(M.wordsOf(up)[0]);
    return { sends: f ? digest(JSON.stringify(sent)) : "", prices: prices.join(" "), acts: [...M.actsOn(e), ...beside].map(digest) };
  };

  // All that a yes is bound to in the element itself, and all that must not have changed between the look and the press.
  M.meaningOf = (e, kind) => {
    const control = M.controlOf(e), words = M.wordsOf(e), link = M.linkOf(e), facts = M.formFacts(control);
    const value = ["button", "submit", "reset", "image"].includes(control.type) ? control.value : "";
    return JSON.stringify([location.href, D.tag(e), control.type || "", M.nameOf(e, kind, words), words[0], words[1], value, link.href, link.target, facts.action, facts.form_method, submits(control) ? facts.form_texts : []]);
  };
})();
