#!/usr/bin/env bash
# Makes an environment with the lowest releases that pyproject.toml allows, to run tests in:
#     tests/floors.sh FOLDER && FOLDER/bin/python -m pytest tests/core
# Torch is the one of constraints.txt (an older CPU build is on few indexes), test tools are the newest. The extra `transformers` is left
# out, because it asks for a newer huggingface_hub than the others; its tests are skipped.
set -euo pipefail
folder=$1
cd "$(dirname "$0")/.."
python3 -m venv "$folder"
pip="$folder/bin/python -m pip --disable-pip-version-check --quiet"
$pip install uv
torch=$(sed -n 's/^torch==//p' constraints.txt)
$pip install "torch==$torch" || exit
echo "torch==$torch" >"$folder/torch.txt"
"$folder/bin/uv" pip install --quiet --python "$folder/bin/python" --resolution lowest-direct --override "$folder/torch.txt" \
    -e ".[all,dds,bag,rerun,mesh]"
"$folder/bin/uv" pip freeze --quiet --python "$folder/bin/python" | grep -v -e ' @ ' -e '^-e' >"$folder/floors.txt"
# The test tools, beside what is there.
"$folder/bin/uv" pip install --quiet --python "$folder/bin/python" --constraint "$folder/floors.txt" \
    pytest pytest-timeout pytest-xdist hypothesis schemathesis openai gymnasium psutil catkin_pkg mcap supervision hatchling
