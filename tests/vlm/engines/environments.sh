#!/bin/sh
# Make the environments of real foreign engines and trainers (about 3 GB each):
#   sh tests/vlm/engines/environments.sh [FOLDER]        (default: .venvs in the repository's root)
# The tests that use them run where they find them there, or in $MOLMO_ENGINE_ENVS.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
folder=${1:-$root/.venvs}

. "$root/agents/examples/make_environment.sh"

# transformers' own server, and its processors of Qwen-VL and Molmo 2.
make transformers-serve -e "$root[vision-language]" "transformers[serving]>=5.20"
# trl on a tiny Molmo (tests/hf/test_trl.py).
make trl -e "$root[transformers]" "trl>=1.16" peft
# lmms-eval asks a small model one of its own tasks on local data (tests/evaluate/test_lmms_eval.py).
make lmms-eval -e "$root[engine]" "lmms_eval>=0.7.3" "filelock<3.26"  # it imports filelock._api
echo "$folder"
