"""Who comes by in a video: the count in each frame, and how many different ones (`nano` knows cars, no people).

python examples/counting/people_in_a_video.py [VIDEO]
"""

import sys
from collections import Counter
from pathlib import Path

import molmo_point as mp
from molmo_point.images import load_image
from molmo_point.tracking.frame_sources import frames
from molmo_point.tracking.tracker import Tracker

QUERY, EVERY = "cars", 5


def main() -> None:
    if len(sys.argv) > 1:
        images = [frame.image for frame in frames(sys.argv[1], paced=False)]
    else:  # a camera that moves over the image of the parking lot
        scene = load_image(Path(__file__).with_name("cars.jpg"))
        images = [scene[:, 4 * n : 4 * n + 400] for n in range(20)]
    pointer, tracker, seen = mp.load("nano"), Tracker(), Counter()
    for number, image in enumerate(images):
        frame = tracker.add_frame(image, number / 10)
        if number % EVERY == 0:
            tracker.add_answer(frame, pointer.count(image, QUERY))
        pointing, tracks = tracker.answer(QUERY)
        seen.update(track.id for track in tracks)
        # A track counts once it outlived the question that it came from.
        different = sum(frames_seen > EVERY for frames_seen in seen.values())
        print(f"frame {number}: {pointing.count} {QUERY}, {different} different ones so far")


if __name__ == "__main__":
    main()
