#!/bin/sh
# Tests and times seqmodel on one NVIDIA card, in at most five minutes, without a network.
# Prints one JSON line a case. Exit code: 0 if all passed, 1 if not, 2 if something is missing.
#   tools/gpu.sh [--python PYTHON] [--wheels DIR] [--cases EXPRESSION] [--limit SECONDS] [-- OPTIONS]
#   --python PYTHON      a Python that has torch and pytorch_lightning (default: python3)
#   --wheels DIR         read missing packages from DIR/*.whl; nothing is installed into PYTHON
#   --cases EXPRESSION   tests to run, as for `pytest -k` (default: all)
#   --limit SECONDS      end after this time (default: 300)
#   -- OPTIONS           further options of benchmarks/train.py, such as --sizes n_layers=2
# SEQMODEL_GPU_TEST_DEVICE=cpu runs all of it on the CPU.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

fail() {
    echo "gpu: $1" >&2
    exit 2
}

python=python3 wheels='' cases='' limit=300
while [ $# -gt 0 ]; do
    option=$1
    shift
    case "$option" in
        --) break ;;
        --python | --wheels | --cases | --limit) [ $# -gt 0 ] || fail "$option needs a value" ;;
        *) fail "unknown option $option; the first lines of tools/gpu.sh name all" ;;
    esac
    case "$option" in
        --python) python=$1 ;;
        --wheels) wheels=$1 ;;
        --cases) cases=$1 ;;
        --limit) limit=$1 ;;
    esac
    shift
done
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$python is not Python 3.11 or later; name one by --python"

case "$python" in
    /*) ;;
    */*) python=$PWD/$python ;; # below it is also called from the folder of the wheels
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 143' INT TERM
end=$(($(date +%s) + limit))
device=${SEQMODEL_GPU_TEST_DEVICE:-cuda}
export SEQMODEL_GPU_TEST_DEVICE="$device"
export PYTHONPATH="$root:$root/tests:$scratch/packages" PYTHONDONTWRITEBYTECODE=1

if [ -n "$wheels" ]; then
    # torch, Lightning and NumPy stay those of PYTHON: others may not fit the card or its driver
    names=$(cd "$wheels" && ls | grep '\.whl$' | grep -Ev '^(torch|triton|nvidia_.*|numpy|(pytorch_)?lightning)-') ||
        fail "no wheel in $wheels; fill it where there is a network: pip download --no-deps -d DIR PACKAGE ..."
    (cd "$wheels" && "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \
        --no-compile --target "$scratch/packages" $names) >"$scratch/pip" 2>&1 ||
        fail "pip could not unpack $wheels: $(tail -n 1 "$scratch/pip")"
fi

"$python" - "$device" 2>"$scratch/error" <<'END' || fail "$(tail -n 1 "$scratch/error")"
import importlib.util, json, platform, shutil, sys

wanted = ("torch", "pytorch_lightning", "torchmetrics", "lightning_utilities", "numpy", "jaxtyping", "wadler_lindig")
wanted += ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
missing = [name for name in wanted if importlib.util.find_spec(name) is None]
if missing:
    packages = " ".join(missing).replace("_", "-")
    sys.exit(f"missing: {packages}; where there is a network: pip download --no-deps -d DIR {packages}; then --wheels DIR")
import pytorch_lightning, torch

device = sys.argv[1]
if device == "cuda" and not torch.cuda.is_available():
    built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU only"
    sys.exit(f"torch {torch.__version__}, built {built}, sees no card; SEQMODEL_GPU_TEST_DEVICE=cpu tries the script without one")
if not any(map(shutil.which, ("cc", "gcc", "clang"))):
    sys.exit("missing: a C compiler (cc, gcc or clang), which --compile needs")
line = {"case": "machine", "card": device, "torch": torch.__version__, "lightning": pytorch_lightning.__version__}
if device == "cuda":
    free, total = torch.cuda.mem_get_info()
    line |= {"card": torch.cuda.get_device_name(), "cuda": torch.version.cuda, "capability": torch.cuda.get_device_capability()}
    line |= {"memory_gib": round(total / 2**30, 1), "free_gib": round(free / 2**30, 1)}
print(json.dumps(line | {"python": platform.python_version()}), flush=True)
END

# Runs a command for at most so long. Its stdout is JSON lines; what else it says is shown if it fails.
result=0
part() {
    name=$1 seconds=$2
    shift 2
    code=0
    [ "$seconds" -gt 0 ] || seconds=1
    timeout "$seconds" "$@" 2>"$scratch/log" || code=$?
    [ $code = 0 ] && return
    result=1
    reason="exit code $code"
    [ $code = 124 ] && reason="did not end within $seconds s"
    echo "{\"case\": \"$name\", \"result\": \"failed\", \"error\": \"$reason\"}"
    tail -n 200 "$scratch/log" >&2
}

export SEQMODEL_GPU_TEST_LINES=3 # the file descriptor to which tests/gpu/conftest.py writes its lines
part tests $((end - $(date +%s) - limit / 4)) sh -c 'exec "$@" 3>&1 >&2' sh \
    "$python" -m pytest -c /dev/null --rootdir "$root" -p no:cacheprovider --import-mode=importlib \
    --tb=short -q -m gpu ${cases:+-k "$cases"} "$root/tests/gpu"
part benchmark $((end - $(date +%s))) "$python" "$root/benchmarks/train.py" transformer_masked \
    --device "$device" --peers bare bf16 --rounds 3 --steps 20 "$@"
exit $result
