#!/bin/sh
# Make an environment for each client whose pins conflict with ours or with each other's:
#   sh tests/service/clients/environments.sh [FOLDER]        (default: .venvs in the repository's root)
# tests/service/test_clients.py runs those that it finds there, or in $MOLMO_CLIENT_ENVS. About 3 GB.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
folder=${1:-$root/.venvs}

. "$root/agents/examples/make_environment.sh"

make chat "litellm==1.110.2" "langchain-openai==1.7.4"
make agent-s "gui-agents==0.3.2"
make cua -e "$root[client]" "cua-agent==0.9.1"
make label-studio "label-studio==1.23.2"
if [ ! -e "$folder/midscene/.ready" ]; then
    echo "midscene: installing ..." >&2
    mkdir -p "$folder/midscene"
    (cd "$folder/midscene" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund @midscene/core@1.13.1)
    touch "$folder/midscene/.ready"
fi
echo "$folder"
