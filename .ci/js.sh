#!/bin/sh
# js.sh format | check: the JavaScript and styles of the console, with tools of npm where Node.js is.
set -eu
cd "$(dirname "$0")/../plugins/console"
if ! command -v npx >/dev/null; then
  echo "Node.js is not installed: the console's JavaScript is not checked"
  exit 0
fi
case $1 in
  format) npx --yes prettier@3.10.1 --log-level warn --write web ;;
  check)
    npx --yes prettier@3.10.1 --log-level warn --check web
    npx --yes --package typescript@7.0.2 tsc --project jsconfig.json
    ;;
esac
