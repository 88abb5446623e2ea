#!/usr/bin/env bash
# Installs what tests need from the system's packages, where that is possible; without it those tests are skipped, with the reason.
#   chromium                 web page, web agents, page training images
#   fonts-noto-color-emoji   training images
#   python3-rosidl, -empy    the ROS interfaces, parsed by ROS's own tools
#   libusb-1.0-0             librealsense, which a test compares projection with
#   poppler-utils            printed calibration boards, measured on the page
# colcon gets an environment of its own, because it wants another setuptools.
set -u
wanted=()
command -v chromium >/dev/null 2>&1 || wanted+=(chromium)
for package in fonts-noto-color-emoji fonts-dejavu-core fonts-dejavu-extra fonts-liberation python3-rosidl python3-empy libusb-1.0-0 g++ libzmq3-dev nlohmann-json3-dev poppler-utils; do
    dpkg -s "$package" >/dev/null 2>&1 || wanted+=("$package")
done
if [ ! -x .venv/colcon/bin/colcon ]; then
    python3 -m venv .venv/colcon && .venv/colcon/bin/pip install -q --disable-pip-version-check colcon-common-extensions 2>/dev/null ||
        echo "could not install colcon; the tests that need it will be skipped" >&2
fi
[ ${#wanted[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
    echo "not installed (needs root and apt-get): ${wanted[*]}; the tests that need them will be skipped" >&2
    exit 0
fi
echo "installing ${wanted[*]} for the tests ..." >&2
export DEBIAN_FRONTEND=noninteractive
if ! { timeout 300 apt-get update -qq && timeout 900 apt-get install -y -qq --no-install-recommends "${wanted[@]}"; } >/dev/null 2>&1; then
    echo "could not install ${wanted[*]}; the tests that need them will be skipped" >&2
fi
exit 0
