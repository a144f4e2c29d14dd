# Makes the environment of a script; sourced by the others, which set ROOT first. POSIX sh.
#
#   make_env KIND   leaves .venv-KIND with the packages of requirements/KIND.txt and this project
#                   (editable), and its interpreter in $PY
#
# uv does the work where it is on PATH, else venv and pip. Both install the same files: every
# package is pinned by hash, and only wheels are taken, so that nothing unpinned is built. A lock
# names everything it needs, so nothing is resolved again (--no-deps): pip before 23.3, which
# Python 3.11 brings, looks for the newest release wherever a package is asked for with an extra,
# and then refuses it as it has no hash; an install had broken the day one was published. Where
# packages come from is the user's own configuration of uv or pip. An environment that is up to
# date costs two file comparisons.

say() { printf '%s\n' "$*" >&2; }

# The oldest and the first untested minor version of Python 3.
MIN_MINOR=11
END_MINOR=15

make_env() {
    VENV_NAME=.venv-$1
    VENV=$ROOT/$VENV_NAME
    LOCK=$ROOT/requirements/$1.txt
    PY=$VENV/bin/python
    # A moved checkout has an environment that points to the old place, so the place counts too.
    if ! [ -x "$PY" ] || ! cmp -s "$LOCK" "$VENV/.lock" || [ "$(cat "$VENV/.root")" != "$ROOT" ]; then
        # uv takes its settings from the folder it is called in.
        (cd "$ROOT" && install_packages)
    fi
    if ! cmp -s "$ROOT/pyproject.toml" "$VENV/.project"; then
        (cd "$ROOT" && install_project)
        printf '%s\n' "$ROOT" >"$VENV/.root"
        cp "$LOCK" "$VENV/.lock"
        cp "$ROOT/pyproject.toml" "$VENV/.project"
    fi
}

install_packages() {
    if command -v uv >/dev/null 2>&1; then
        packages_with_uv && return
        # A mirror or a certificate is often told to pip alone.
        say "uv could not do it; trying pip, which has a configuration of its own."
    fi
    packages_with_pip
}

packages_with_uv() {
    rm -rf "$VENV"
    say "Making $VENV_NAME with $(uv --version) ..."
    uv venv --quiet --no-project --python "${PYTHON:->=3.$MIN_MINOR,<3.$END_MINOR}" "$VENV" &&
        uv pip install --python "$PY" --require-hashes --only-binary :all: --no-deps -r "$LOCK"
}

packages_with_pip() {
    rm -rf "$VENV"
    python=$(find_python) || return
    say "Making $VENV_NAME with $("$python" --version 2>&1) and pip ..."
    "$python" -m venv "$VENV" || return
    total=$(grep -c '==' "$LOCK")
    say "Installing up to $total packages; this takes a minute or two, once ..."
    tty=$([ -t 2 ] && echo 1 || echo "")
    failed="$VENV/.failed"
    : >"$failed"
    {
        PIP_USER=0 "$PY" -m pip install --disable-pip-version-check --no-input --progress-bar off \
            --require-hashes --only-binary :all: --no-deps -r "$LOCK" && rm -f "$failed"
    } | count_packages "$total" "$tty"
    [ ! -e "$failed" ]
}

# pip says a line per package and more; shown is one line that counts, on a terminal only.
count_packages() {
    awk -v total="$1" -v tty="$2" '
        /^Collecting / { n++; if (tty) { printf "\r\033[K  %d/%d %s", n, total, $2 > "/dev/stderr" } }
        /^Installing collected packages/ { if (tty) printf "\r\033[K  installing %d packages ...", n > "/dev/stderr" }
        END { if (tty) printf "\r\033[K" > "/dev/stderr" }
    '
}

# The build backend comes from the lock: isolation would fetch an unpinned one.
install_project() {
    if ! has_pip && command -v uv >/dev/null 2>&1; then
        uv pip install --quiet --python "$PY" --no-deps --no-build-isolation -e "$ROOT"
        return
    fi
    has_pip || packages_with_pip # It was made by a uv that is gone.
    PIP_USER=0 "$PY" -m pip install --quiet --disable-pip-version-check --no-input \
        --no-deps --no-build-isolation -e "$ROOT"
}

has_pip() { "$PY" -c "import pip" >/dev/null 2>&1; }

find_python() {
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if "$name" -c "import sys, venv, ensurepip
sys.exit(not (3, $MIN_MINOR) <= sys.version_info[:2] < (3, $END_MINOR))" >/dev/null 2>&1; then
            printf '%s\n' "$name"
            return 0
        fi
    done
    say "No usable Python was found: it takes Python 3.$MIN_MINOR to 3.$((END_MINOR - 1)) with the"
    say "modules venv and ensurepip, as one of: python3, python3.14 ... python3.$MIN_MINOR."
    if command -v python3 >/dev/null 2>&1; then
        say "python3 here is $(python3 --version 2>&1); on Debian and Ubuntu venv is the package python3-venv."
    fi
    say "Or name one: PYTHON=/path/to/python $0, or install uv, which brings its own."
    return 2
}
