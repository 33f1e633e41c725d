#!/bin/sh
# Runs pytest. With AGAIN=1, tests that failed are run once more, one after the other. A test of real
# processes and signals can miss its deadline on a busy machine. A fault fails again.
set -u
cd "$(dirname "$0")/.."

python=.venv/bin/python
[ "${AGAIN:-0}" = 1 ] || exec "$python" -m pytest "$@"

cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
"$python" -m pytest -o "cache_dir=$cache" "$@"
status=$?
# Only 1 says that every test ran and some failed.
[ "$status" = 1 ] || exit "$status"
printf '\n=== what failed, once more\n'
"$python" -m pytest -o "cache_dir=$cache" "$@" -n 0 --last-failed --last-failed-no-failures none
