// The line that says what the page does, and what went wrong.

import { Gone, Refusal, hasToken } from "/page/server.js";

const $ = (id) => document.getElementById(id);

export function say(text, kind = "") {
  $("status").textContent = text;
  $("status").dataset.kind = kind;
}

export function complain(error) {
  if (error instanceof Refusal && error.status === 401) {
    $("token-form").hidden = false;
    $("token").focus();
    const words = hasToken() ? "The server did not accept this token. It answers only with a token that it knows." : "This server answers only with a token.";
    return say(words, "error");
  }
  if (error instanceof Gone) return say("The server does not answer.", "error");
  say([error.message, error.advice].filter(Boolean).join(" — "), "error");
}
