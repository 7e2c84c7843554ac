#!/bin/sh
# Tests and times seqmodel on one NVIDIA card, in at most seven minutes, without a network.
# Prints one JSON line a case. Exit code: 0 if all passed, 1 if not, 2 if something is missing.
#   tools/gpu.sh [--python PYTHON] [--wheels DIR] [--cases EXPRESSION] [--limit SECONDS] [--tiny]
#                [-- OPTIONS]
#   --python PYTHON      a Python that has torch and pytorch_lightning (default: python3)
#   --wheels DIR         read missing packages from DIR/*.whl; nothing is installed into PYTHON
#   --cases EXPRESSION   tests to run, as for `pytest -k` (default: all)
#   --limit SECONDS      end after this time (default: 420); each part has a share of it, and one
#                        that had too little is a line that says so
#   --tiny               small models and few rounds: tries the script, and measures nothing
#   -- OPTIONS           further options of benchmarks/train.py, such as --sizes n_layers=2
# SEQMODEL_GPU_TEST_DEVICE=cpu runs all of it on the CPU.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

fail() {
    echo "gpu: $1" >&2
    exit 2
}

python=python3 wheels='' cases='' limit=420 tiny=''
while [ $# -gt 0 ]; do
    option=$1
    shift
    case "$option" in
        --) break ;;
        --tiny) tiny=yes && continue ;;
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

# Runs a command until a per cent of the limit is over. Its stdout is JSON lines; what else it says
# is shown if it fails, and in any case what a line of it left out.
result=0
part() {
    name=$1 seconds=$(($2 * limit / 100 - limit + end - $(date +%s)))
    shift 2
    if [ "$seconds" -lt 1 ]; then
        result=1
        echo "{\"case\": \"$name\", \"result\": \"not run\", \"error\": \"no time was left of $limit s\"}"
        return
    fi
    code=0
    timeout "$seconds" "$@" 2>"$scratch/log" || code=$?
    grep 'pip install' "$scratch/log" >&2 || true
    [ $code = 0 ] && return
    result=1
    reason="exit code $code"
    [ $code = 124 ] && reason="did not end within $seconds s; later cases of this part were not run"
    echo "{\"case\": \"$name\", \"result\": \"failed\", \"error\": \"$reason\"}"
    tail -n 200 "$scratch/log" >&2
}

rounds='--rounds 3 --steps 20' widths='256 1024' apply='--rounds 2 --n 20000' models='demo cnn transformer'
cases_applied='predict ism embed variants'
if [ "$tiny" ]; then
    rounds='--rounds 1 --steps 2 --threads 1' widths=16 cases_applied='predict ism'
    apply='--rounds 1 --n 256 --threads 1' models=cnn
    set -- --sizes n_dims=16 n_layers=1 n_heads=2 n_ff=32 seq_len=32 batch_size=4 "$@"
fi
train="$root/benchmarks/train.py"
export SEQMODEL_GPU_TEST_LINES=3 # the file descriptor to which tests/gpu/conftest.py writes its lines
part tests 50 sh -c 'exec "$@" 3>&1 >&2' sh \
    "$python" -m pytest -c /dev/null --rootdir "$root" -p no:cacheprovider --import-mode=importlib \
    --tb=short -q -m gpu ${cases:+-k "$cases"} "$root/tests/gpu"
# the model of docs/speed.md, its loader and its strategies; then widths in half precision
part training 62 "$python" "$train" transformer_masked cnn --device "$device" \
    --peers bare bf16 ddp fsdp kept $rounds "$@"
part transformer 86 "$python" "$train" transformer_masked --device "$device" --peers bare hf_bert \
    --precision bf16-mixed --widths $widths --compiled $rounds "$@"
part applying 100 "$python" "$root/benchmarks/infer.py" $cases_applied \
    --device "$device" --models $models $apply
exit $result
