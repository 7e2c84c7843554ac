#!/bin/sh
# Makes ./.venv with seqmodel (editable) and the extras named, at the versions of constraints.txt.
#   tools/environment.sh demo        what `make demo` needs
#   tools/environment.sh docs        what `make docs` needs
#   tools/environment.sh test        what `make test`, `make check` and the other two need
# Done once: a stamp in .venv holds a digest of pyproject.toml, constraints.txt, the Python and the folder.
# When that digest changes .venv is made anew. pip's own settings (PIP_INDEX_URL, ...) are respected.
set -eu
cd "$(dirname "$0")/.."

case "${1:-}" in
    demo) extras=demo ;;
    docs) extras=docs ;;
    test) extras=demo,tracks,hdf5,parquet,variants,attribute,audit,export,hf,lora,search,report,tensorboard,docs,dev ;;
    *) echo "usage: tools/environment.sh demo|docs|test" >&2; exit 2 ;;
esac

find_python() {
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "environment: no Python >= 3.11 among: ${PYTHON:-python3 python3.14 ... python3.11};" \
        "install one, or name it: make PYTHON=/path/to/python3.12 $1" >&2
    exit 2
}

python=$(find_python "$1")
digest=$({
    cat pyproject.toml constraints.txt
    "$python" -c 'import sys; print(sys.version, sys.base_prefix)'
    pwd
} | sha256sum | cut -d' ' -f1)

# Two `make` at once: the second waits, then finds the environment made.
if command -v flock >/dev/null; then
    exec 9<constraints.txt
    flock 9
fi

is_current() { [ "$(cat ".venv/made-for-$1" 2>/dev/null)" = "$digest" ]; }

# The test environment has all that the others need.
if is_current "$1" || is_current test; then
    exit 0
fi
if ! is_current demo && ! is_current docs; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "environment: $python cannot make virtual environments; on Debian and Ubuntu:" \
            "apt-get install python3-venv (or python3.X-venv for the Python named)" >&2
        exit 2
    fi
    echo "environment: making .venv with $python (once; PyTorch is the large part)"
    rm -rf .venv
    "$python" -m venv .venv
fi
echo "environment: installing seqmodel[$extras]"
quiet=-qq # errors only; on a terminal pip shows its progress
if [ -t 1 ]; then quiet=; fi
.venv/bin/python -m pip install --disable-pip-version-check $quiet \
    --constraint constraints.txt --editable ".[$extras]"
echo "$digest" > ".venv/made-for-$1"
