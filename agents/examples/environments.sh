#!/bin/sh
# Make an environment for each tool whose pins conflict with ours or with each other's:
#   sh agents/examples/environments.sh [FOLDER]        (default: .venvs in the repository's root)
# Then: FOLDER/browsergym/bin/python agents/examples/with_browsergym.py, and so on.
# tests/agents/test_adapters.py runs those that it finds there, or in $MOLMO_ADAPTER_ENVS.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/.venvs}

. "$root/agents/examples/make_environment.sh"

# The official MCP SDK's first major version; the second is in the main environment.
make mcp1 -e "$root" "mcp>=1.2,<2" "playwright>=1.44" "typer>=0.12"
# BrowserGym pins an old Playwright. MiniWoB++ would bring Selenium along, which nothing here uses.
make browsergym -e "$root" browsergym-core "playwright==1.44.0"
"$folder/browsergym/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps miniwob browsergym-miniwob
# browser-use pins many versions, that of the MCP SDK among them.
make browser-use -e "$root" browser-use "playwright>=1.44"
echo "$folder"
