#!/bin/sh
# Make the environment of a real foreign engine (about 3 GB):
#   sh tests/vlm/engines/environments.sh [FOLDER]        (default: .venvs in the repository's root)
# tests/vlm/test_real_engines.py runs it where it finds it there, or in $MOLMO_ENGINE_ENVS.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
folder=${1:-$root/.venvs}

. "$root/agents/examples/make_environment.sh"

# transformers' own server, and its processors of Qwen-VL and Molmo 2.
make transformers-serve -e "$root[vision-language]" "transformers[serving]>=5.20"
echo "$folder"
