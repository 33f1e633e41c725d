#!/bin/sh
# Makes .venv. `setup.sh runtime` installs what the server needs, `setup.sh dev` also what tests and
# checks need. Needs Python 3.11 or newer and nothing else; uses uv where there is one, being faster.
set -eu
cd "$(dirname "$0")/.."

case "${1:-}" in
  runtime) lock=requirements.lock build=requirements-build.lock ;;
  dev) lock=requirements-dev.lock build= ;;
  *) echo "usage: setup.sh runtime|dev" >&2; exit 2 ;;
esac

fail() { echo "caudex: $*" >&2; exit 1; }
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

uv=$(command -v uv || true)

# Prints a new enough Python; without uv it must also be able to make a virtual environment.
find_python() {
  unusable=
  for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    is_new_enough "$python" || continue
    if [ -n "$uv" ] || "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      command -v "$python"
      return
    fi
    unusable=${unusable:-$python}
  done
  [ -z "$unusable" ] || fail "$unusable cannot make virtual environments here; install that part: apt install $unusable-venv"
  [ -z "$uv" ] || { echo ">=3.11"; return; }
  found=$(python3 --version 2>/dev/null) || found="no python3"
  fail "needs Python 3.11 or newer, found $found (python3.11 to python3.14 on PATH would do as well)"
}

if ! is_new_enough .venv/bin/python; then
  python=$(find_python)
  echo "caudex: making .venv"
  rm -rf .venv
  if [ -n "$uv" ]; then "$uv" venv --quiet --seed --python "$python" .venv; else "$python" -m venv .venv; fi
fi

if [ -n "$uv" ]; then
  install() { "$uv" pip install --quiet --python .venv/bin/python "$@"; }
else
  install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input "$@"; }
fi

if [ -n "$uv" ]; then
  uninstall() { "$uv" pip uninstall --quiet --python .venv/bin/python "$@"; }
else
  uninstall() { .venv/bin/python -m pip uninstall --quiet --yes "$@"; }
fi

echo "caudex: installing $lock"
# Its name before 0.2: the record of that one would stay.
uninstall caudex 2>/dev/null || true
install --require-hashes -r "$lock" ${build:+-r "$build"}
# No build isolation: a lock holds the build tools, so nothing unpinned is downloaded.
install --no-deps --no-build-isolation -e .

.venv/bin/python - <<'END'
import platform, sys, sysconfig
from plugins.system.examination.diagnosis import profiled

how = "with" if profiled(sysconfig.get_config_vars()) else "without"
python = getattr(sys, "_base_executable", sys.executable)
print(f"caudex: Python {platform.python_version()} ({python}), built {how} profile-guided optimization")
END

touch .venv/.runtime
[ "$1" = runtime ] || touch .venv/.dev
