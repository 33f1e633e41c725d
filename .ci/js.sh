#!/bin/sh
# js.sh format | check: the JavaScript of console, client and templates, with tools of npm where Node.js is.
set -eu
cd "$(dirname "$0")/.."
if ! command -v npx >/dev/null; then
  echo "Node.js is not installed: the JavaScript is not checked"
  exit 0
fi
prettier() { (cd "$1" && npx --yes prettier@3.10.1 --log-level warn "$2" "$3"); }
case $1 in
  format)
    prettier plugins/console --write web
    for client in js react-admin refine; do prettier "contrib/clients/$client" --write .; done
    prettier plugins/authoring/template --write "*/frontend/**/*.{js,css,html}"
    ;;
  check)
    prettier plugins/console --check web
    for client in js react-admin refine; do prettier "contrib/clients/$client" --check .; done
    prettier plugins/authoring/template --check "*/frontend/**/*.{js,css,html}"
    npx --yes --package typescript@7.0.2 tsc --project plugins/console/jsconfig.json
    for client in js react-admin refine; do
      npx --yes --package typescript@7.0.2 tsc --project "contrib/clients/$client/jsconfig.json"
    done
    ;;
esac
