#!/usr/bin/env bash
# Installs what tests need from the system's packages, where that is possible; without it those tests are skipped, with the reason.
#   chromium                 web page, web agents, page training pictures
#   fonts-noto-color-emoji   training pictures
set -u
wanted=()
command -v chromium >/dev/null 2>&1 || wanted+=(chromium)
for font in fonts-noto-color-emoji fonts-dejavu-core fonts-liberation; do
    dpkg -s "$font" >/dev/null 2>&1 || wanted+=("$font")
done
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
