"""Run one of the example flows against pages served from here: python agents/examples/run.py login

    login    log in with a secret that no log shows
    basket   fill a basket, stop at the confirmation it must ask for
    mails    count unread mails
    form     fill a form from person.yaml

`--model nano` or `--model tcp://gpu:5555` looks with a model; by default the pages' own marks are read.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from molmo_agents import Journal, Outcome, Policy, WebPointer, allow_risks
from molmo_agents.browser.launch import Screen, open_page
from molmo_agents.flows.flow import load_flow, run_flow
from molmo_agents.flows.report import write_report
from molmo_agents.journal import read_steps
from molmo_agents.pointers import choose_pointer
from page_pointer import PagePointer
from serve import pages

HERE = Path(__file__).parent


def say(step: Any, outcome: Outcome, good: bool) -> None:
    count = f" {outcome.count}" if outcome.count is not None else ""
    print(f"{'ok  ' if good else 'BAD '} {outcome.verb} {outcome.query}: {outcome.status}{count}")


def fill_form(web: WebPointer, address: str) -> bool:
    """The Python way: the same verbs, driven by data."""
    person = yaml.safe_load((HERE / "person.yaml").read_text("utf-8"))
    outcomes = [web.goto(f"{address}/form.html")]
    outcomes += [web.type(field, text) for field, text in person["text"].items()]
    outcomes += [web.select(field, option) for field, option in person["select"].items()]
    outcomes += [web.check(field, on) for field, on in person["check"].items()]
    outcomes.append(web.click("the Register button"))
    for outcome in outcomes:
        say(None, outcome, outcome.ok)
    return all(outcome.ok for outcome in outcomes)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=["login", "basket", "mails", "form"])
    parser.add_argument("--model", default="")
    parser.add_argument(
        "--log", help="folder for journal and report.html; default example-log/NAME"
    )
    options = parser.parse_args()
    # A demonstration's password, so that the flow runs as it is; a real one never stands in a file.
    os.environ.setdefault("SHOP_PASSWORD", "tulip-42")
    marks = PagePointer()
    pointer = choose_pointer(options.model) if options.model else marks.pointer
    with pages() as address, open_page(Screen()) as page:
        if options.name == "form":
            policy = Policy(origins=(address,), confirm=allow_risks(["send"]))
        else:
            page_name = {"login": "login", "basket": "shop", "mails": "mail"}[options.name]
            flow = load_flow(HERE / f"{options.name}.yaml", f"{address}/{page_name}.html")
            policy = flow.policy()
        log = Path(options.log or f"example-log/{options.name}")
        # A journal that is there already is continued; the report is about this run alone.
        before = len(read_steps(log)) if (log / "steps.jsonl").exists() else 0
        with WebPointer(page, pointer, policy, journal=Journal(log)) as web:
            marks.web = web
            good = fill_form(web, address) if options.name == "form" else run_flow(web, flow, say)
    print(write_report(log, read_steps(log)[before:], f"example: {options.name}"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
