"""MiniWoB++ as a Gymnasium environment, without Selenium: python agents/examples/with_gymnasium.py [--model nano]

By default the button's place is read from the page; with `--model` the pointer gets the screenshot and the task's own words.
Needs: pip install gymnasium, pip install --no-deps miniwob.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from molmo_agents.adapters.gym_miniwob import MiniwobEnv
from molmo_agents.pointers import choose_pointer

MIDDLE = "() => { const r = subbtn.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; }"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="", help="nano, a model name or folder, or a server")
    parser.add_argument("--episodes", type=int, default=3)
    options = parser.parse_args()
    pointer = choose_pointer(options.model) if options.model else None
    env = MiniwobEnv("click-test")
    try:
        for seed in range(options.episodes):
            observation, _ = env.reset(seed=seed)
            height, width, _ = observation["image"].shape
            if pointer is None:
                x, y = env.page.evaluate(MIDDLE)
                place = (x / width, y / height)
            else:
                point = pointer.point(observation["image"], observation["utterance"]).best()
                place = (point.x, point.y) if point else (0.5, 0.5)
            action = {"point": np.array(place, np.float32), "verb": 0}
            _, reward, done, _, info = env.step(action)
            said = observation["utterance"]
            print(
                f"seed {seed}, {said!r}: {info['outcome'].status}, reward {reward:+.1f}, {done=}"
            )
    finally:
        env.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
