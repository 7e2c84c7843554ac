# What a job does on its node. Sourced by the script of each replicate, which sets the variables
# used here; written for bash 3.2 and later (macOS too).
#
#   job_main [submission]     the whole job: stage, check, run, record the end
#   job_main stage            prepare this node (called once on each of several nodes)
#   job_main rank ARGS...     one process of the run (called once for each device)
#
# The history is in $folder/events, one event per line: seconds since 1970, a word, key=value ...
# Nothing depends on a trap at exit: the missing last line shows that a job was killed.

event() { printf '%s %s\n' "$(date +%s)" "$*" >> "$folder/events"; }
say() { printf 'seqmodel: %s\n' "$*"; }

job_id() { # the scheduler's id of this job; SLURM_JOB_ID of an element is that of the array
    if [ -n "${SLURM_ARRAY_JOB_ID-}" ]; then
        printf '%s_%s' "$SLURM_ARRAY_JOB_ID" "$SLURM_ARRAY_TASK_ID"
    else
        printf %s "${SLURM_JOB_ID:-$$}"
    fi
}

job_main() {
    from_workdir python venv requirements wheels node_storage
    case "${1-}" in
        stage) node_folder && prepare && environment && check_python && stage; exit ;;
        rank) shift; node_folder && found_environment && start_python "$@"; exit ;;
        clean) node_folder && rm -rf -- "$node"; exit ;;
    esac
    submission=${1:-0} signal='' child='' code=0 left=''
    begin
    step environment environment_everywhere
    step staging stage_everywhere
    case ${args[0]} in [!-]*) run_verb ;; esac
    trials=()
    if ! grep -q '^[0-9]* run' events; then # no attempt has passed its checks yet
        if [ "$fast_dev_run_first" = 1 ]; then check preflight "--fast_dev_run=True"; fi
        if [ "$checkpoint_check" = 1 ]; then check_resume; fi
    fi
    resume_arguments
    if [ "${#trials[@]}" = 0 ]; then
        phase=run
        event "run$resumed"
        run "${args[@]}" "${resume[@]}"
    else
        run_after_trials
    fi
    if [ "$code" = 75 ]; then put_back; fi
    finish
}

from_workdir() { # from_workdir VARIABLE...: paths below the home folder or workdir become absolute
    local name value
    for name in "$@"; do
        value=${!name-}
        case $value in
            '' | /*) continue ;;
            '~' | '~/'*) value=$HOME${value#?} ;;
            */*) value=$workdir/$value ;;
            *)
                if [ "$name" = python ]; then continue; fi # a program that is found in PATH
                value=$workdir/$value ;;
        esac
        printf -v "$name" %s "$value"
    done
}

begin() {
    cd -- "$folder" || exit 1
    if [ -e "submit.$((submission + 1))" ]; then
        event "superseded submission=$submission"
        exit 0
    fi
    if cancelled; then exit 0; fi # the canceller may have looked for this process too early
    await_last_attempt
    if grep -q '^[0-9]* end code=0 ' events; then exit 0; fi # requeued although it was complete
    attempt=$(($(grep -c '^[0-9]* start ' events) + 1))
    event "start attempt=$attempt submission=$submission job=$(job_id)" \
        "pid=$$ beat=$heartbeat_s node=${SLURMD_NODENAME:-$(uname -n)}"
    say "attempt $attempt" >&2 # marks the start of this attempt in stderr
    export SEQMODEL_JOB_PID=$$
    node_folder || { code=1 phase=staging; finish; }
    (
        trap '' USR1 TERM INT # it beats until the job has ended, also while the job is stopping
        while kill -0 $$; do
            date +%s > "$folder/heartbeat"
            sleep "$heartbeat_s"
        done
    ) > /dev/null 2>&1 < /dev/null &
    beat=$!
    disown "$beat" # do not report its end
    # bash runs a trap only after its foreground command has ended, so the run is in the background
    trap 'on_signal USR1' USR1
    trap 'on_signal TERM' TERM INT
}

await_last_attempt() { # a cancelled attempt may still be writing after the next submission
    local line pid='' began=0 end=$((SECONDS + ${await_s:-$((120 + 2 * heartbeat_s))}))
    while last_start && last_attempt_lives; do
        if [ "$SECONDS" -ge "$end" ]; then
            event "kept_out submission=$submission node=${line##* node=}"
            say "the last attempt still runs on ${line##* node=}: nothing was started" >&2
            exit 1
        fi
        sleep 0.2
    done
}

last_start() { # the start without an end: line, time, and process id if it is on this host
    # the scheduler's answer (`seen`) is not an end: a node that it lost may still write
    line=$(awk '$2 == "start" {l = $0} $2 ~ /^(end|requeue)$/ {l = ""} END {print l}' events)
    began=${line%% *} pid=''
    if [ "${line##* node=}" = "${SLURMD_NODENAME:-$(uname -n)}" ]; then
        pid=${line##* pid=} pid=${pid%% *}
    fi
    [ -n "$line" ]
}

last_attempt_lives() { # checks the process, or on another host the heartbeat
    if [ -n "$pid" ]; then
        # in containers, this process may have the id of the last one
        if [ "$pid" = $$ ] || ! kill -0 "$pid" 2> /dev/null; then return 1; fi
        # the id may belong to another process now; ours may have been stopped
        case "$(ps -ww -o args= -p "$pid" 2> /dev/null)" in
            *"$script"* | *slurm_script* | *./[0-9]*.sh\ *) return 0 ;;
        esac
    fi
    local beat
    beat=$(cat heartbeat 2> /dev/null)
    if [ "${beat:-0}" -lt "${began:-0}" ]; then beat=$began; fi
    [ "$(($(date +%s) - beat))" -le "$((heartbeat_s + 10))" ]
}

cancelled() { # the job that obeys a requested cancel confirms it
    local word
    word=$(awk '
        $2 == "submitting" {done = asked = 0}
        $2 == "cancel" {done = 1}
        $2 == "cancel_failed" {asked = 0}
        $2 == "cancelling" {asked = 1; i = index($0, " text="); text = i ? substr($0, i) : ""}
        END {if (done) print "cancel"; else if (asked) print "cancelling" text}' events)
    case "$word" in
        '') return 1 ;;
        cancelling*) event "cancel${word#cancelling}" ;;
    esac
}

on_signal() {
    signal=${signal:-$1}
    { printf %s "$signal" > "$node/signal"; } 2> /dev/null # at the end the folder is gone
    if [ -n "$child" ]; then kill "-$1" "$child" 2> /dev/null; fi
}

step() { # step PHASE COMMAND...
    phase=$1
    shift
    local start=$SECONDS
    "$@" || code=$?
    if [ -n "$signal" ]; then stopped; fi
    if [ "$code" != 0 ]; then finish; fi
    event "step phase=$phase seconds=$((SECONDS - start))"
}

stopped() { # before the run has started: nothing to save, and nothing is lost
    code=75
    put_back
    finish
}

check() { # check PHASE ARGS...: a short test of the run in a separate folder, which is removed
    if forks; then
        local name=$1
        shift
        trials+=("$name" $# "$@")
        return
    fi
    phase=$1
    shift
    local start=$SECONDS
    run "${args[@]}" "$@"
    if [ -n "$signal" ]; then stopped; fi
    if [ "$code" != 0 ]; then finish; fi
    event "step phase=$phase seconds=$((SECONDS - start))"
}

forks() { # whether one process, which imports torch once, forks the checks and then is the run
    # each rank of srun would have to wait for the others; on macOS a fork may not use Accelerate
    [ "$(uname)" != Darwin ] && { [ "$n_ranks" = 1 ] || [ -z "${SLURM_JOB_ID-}" ]; } &&
        (cd -- "$here" && [ -e "${run_py%run.py}trials.py" ]) # not in the code of an older job
}

run_after_trials() { # sets code, and phase to the last one that has begun
    phase=${trials[0]}
    rm -f -- "$node/phase"
    run after_trials "$folder/events" "$node" "run$resumed" "${trials[@]}" \
        run "${#resume[@]}" "${resume[@]}" -- "${args[@]}"
    if [ -s "$node/phase" ]; then phase=$(< "$node/phase"); fi
    if [ "$phase" = run ]; then return; fi
    if [ -n "$signal" ]; then stopped; fi
    finish
}

check_resume() { # two steps, save, resume, a third
    local scratch=$node/check few
    few=("--limit_val_batches=1" "--limit_test_batches=1" "--default_root_dir=$scratch")
    rm -rf -- "$scratch"
    check checkpoint_check "${few[@]}" "--max_steps=2"
    check checkpoint_check "${few[@]}" "--max_steps=3" \
        "--resume_from_checkpoint=$scratch/checkpoints/last.ckpt"
    rm -rf -- "$scratch"
}

run_verb() { # the verb finds the parts of earlier attempts, so all attempts are alike
    phase=run
    event run
    run "${args[@]}"
    if [ "$code" = 75 ]; then put_back; fi
    finish
}

resume_arguments() { # the folder and the newest checkpoint, if any
    # without one, the run restarts and old records are moved
    local name newest=''
    resume=("--default_root_dir=$folder") resumed=''
    for name in best.ckpt last.ckpt; do
        name=$folder/checkpoints/$name
        if [ -s "$name" ] && ! [ "$newest" -nt "$name" ]; then newest=$name; fi
    done
    if [ -n "$newest" ]; then
        resume+=("--resume_from_checkpoint=$newest")
        resumed=" from=${newest##*/}"
    elif [ "$attempt" != 1 ]; then
        mkdir -p -- "$folder/before_attempt_$attempt"
        for name in hparams.json metrics.csv code.diff; do
            if [ -e "$folder/$name" ]; then
                mv -- "$folder/$name" "$folder/before_attempt_$attempt/"
            fi
        done
    fi
}

run() { # run ARGS...: sets code
    if [ -n "$signal" ]; then code=75; return; fi
    if [ "$n_ranks" -gt 1 ] && [ -n "${SLURM_JOB_ID-}" ]; then
        if [ -z "${MASTER_ADDR-}" ]; then
            MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
            export MASTER_ADDR
        fi
        # from 22.05 on, srun does not read SLURM_CPUS_PER_TASK and may bind each rank to one CPU
        if [ -n "${SLURM_CPUS_PER_TASK-}" ]; then export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK; fi
        (heed_signal && exec srun --kill-on-bad-exit=1 bash "$script" rank "$@") &
    else
        (heed_signal && start_python "$@") &
    fi
    child=$!
    # a signal that came before the process id of the child was known
    if [ -n "$signal" ]; then kill "-$signal" "$child" 2> /dev/null; fi
    # after an interrupted wait, the next wait may never end (bash 5.2), so check the process
    local pause=0.05
    while kill -0 "$child" 2> /dev/null; do
        sleep "$pause"
        case $pause in 0.05) pause=0.2 ;; *) pause=0.5 ;; esac
    done
    wait "$child" 2> /dev/null
    code=$?
    child=''
    # the signal came before the run could handle it: nothing is saved and nothing is lost
    if [ "$signal" = USR1 ] && [ "$(kill -l "$code" 2> /dev/null)" = USR1 ]; then code=75; fi
}

heed_signal() { # a new process loses signals until it has dropped the handlers of its parent
    trap - USR1 TERM INT
    if ! [ -e "$node/signal" ]; then return; fi
    case $(< "$node/signal") in TERM | INT) exit 143 ;; *) exit 75 ;; esac
}

start_python() {
    cd -- "$here" || exit 1
    exec "$python" -u "$run_py" "$@"
}

put_back() { # the scheduler starts this job again, in the same folder
    if [ "$requeue" != 1 ] || [ -z "${SLURM_JOB_ID-}" ]; then return; fi
    # scancel ends a job by SIGTERM alone; a time limit announces itself by SIGUSR1
    if [ "$signal" = TERM ] || cancelled; then return; fi
    local n at before
    at=$(progress)
    before=$(awk '
        $2 == "submitting" {at = "none"}
        $2 == "requeue" {at = "none"; for (i = 3; i <= NF; i++) if ($i ~ /^at=/) at = substr($i, 4)}
        END {print at}' events)
    if [ -n "$at" ] && [ "$at" = "$before" ]; then # a third attempt would end at the same step
        left=" left=no_progress at=$at"
        return
    fi
    n=$(($(grep -c '^[0-9]* requeue ' events) + 1))
    if [ "$n" -gt "$max_requeues" ]; then
        left=" left=max_requeues n=$max_requeues"
        return
    fi
    event "requeue n=$n${at:+ at=$at}"
    kill -KILL "$beat" 2> /dev/null
    clean
    # the scheduler ends this attempt and scontrol at once: that is not a refusal
    (trap '' TERM && exec scontrol requeue "$(job_id)")
    local refused=$?
    if [ "$refused" = 0 ] || [ "$refused" -gt 128 ]; then
        sleep 60
        exit 0
    fi
    left=' left=refused'
}

progress() { # the step of a run, or the number of written parts of a verb; empty if unknown
    local arg
    for arg in "${args[@]}"; do
        case $arg in
            --out=*) find "${arg#--out=}"*.parts -name '0*.part' 2> /dev/null | wc -l | tr -d ' '; return ;;
        esac
    done
    if [ -e "$folder/usage.json" ]; then
        sed -n 's/.*"step": \([0-9][0-9]*\).*/\1/p' "$folder/usage.json"
    else
        printf 0
    fi
}

finish() {
    local full=''
    if [ "$code" != 0 ] && ! head -c 65536 /dev/zero 2> /dev/null > "$folder/.probe"; then
        full=' disk=full'
    fi
    rm -f -- "$folder/.probe"
    event "end code=$code phase=$phase submission=$submission${signal:+ signal=$signal}$left$full"
    kill -KILL "$beat" 2> /dev/null
    clean
    exit "$code"
}

clean() {
    if [ "$n_nodes" -gt 1 ]; then srun --ntasks-per-node=1 --ntasks="$n_nodes" bash "$script" clean; fi
    rm -rf -- "$node"
}

# ---- the node's own storage

node_folder() { # the same name in every process of this job on this node
    local base=${SLURM_TMPDIR:-${node_storage:-${TMPDIR:-/tmp}}}
    node=${base%/}/seqmodel-$token-${SLURM_JOB_ID:-${SEQMODEL_JOB_PID:-$$}}
    if ! mkdir -p -m 700 -- "$node" || [ -L "$node" ] || ! [ -O "$node" ]; then
        say "cannot use $node on the node's own storage" >&2
        return 1
    fi
    here=$workdir run_py=$code_path/seqmodel/run.py
    if [ "$stage_code" = 1 ] || [ "$stage_data" = 1 ]; then here=$node/work; fi
    if [ "$stage_code" = 1 ]; then run_py=seqmodel/run.py; fi
}

everywhere() { # everywhere SUBCOMMAND: on each node of the job, once
    srun --ntasks-per-node=1 --ntasks="$n_nodes" --kill-on-bad-exit=1 bash "$script" "$1"
}

environment_everywhere() {
    prepare || return
    if [ "$n_nodes" = 1 ]; then environment && check_python; fi
}
stage_everywhere() { if [ "$n_nodes" = 1 ]; then stage; else everywhere stage && found_environment; fi; }

prepare() { # the user's variables and setup lines; names have a prefix because eval sees all
    local seqmodel_pair seqmodel_line
    for seqmodel_pair in ${run_env[@]+"${run_env[@]}"}; do export "${seqmodel_pair?}"; done
    for seqmodel_line in ${run_setup[@]+"${run_setup[@]}"}; do
        if ! eval "$seqmodel_line"; then
            say "setup failed: $seqmodel_line" >&2
            return 1
        fi
    done
}

use_modules() { # use_modules NAME...
    if [ $# = 0 ]; then return; fi
    local file
    if ! type module > /dev/null 2>&1; then
        for file in /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh /etc/profile.d/modules.sh; do
            if [ -r "$file" ]; then . "$file"; fi
        done
    fi
    module load "$@"
}

use_environment() { # an environment made from a lock file, an existing one, or none
    if [ -n "$requirements" ]; then
        local offline
        offline=()
        if [ -n "$wheels" ]; then offline=(--no-index --find-links "$wheels"); fi
        if ! [ -x "$node/env/bin/python" ]; then
            "$python" -m venv "$node/env" || return
            "$node/env/bin/python" -m pip install --quiet --disable-pip-version-check \
                ${offline[@]+"${offline[@]}"} -r "$requirements" || return
        fi
    fi
    found_environment
}

found_environment() {
    if [ -x "$node/env/bin/python" ]; then
        python=$node/env/bin/python
    elif [ -n "$venv" ]; then
        python=$venv/bin/python
    fi
    if ! command -v "$python" > /dev/null; then
        say "no program $python on this node; set python, venv or requirements" >&2
        return 1
    fi
    case "$python" in */*) export PATH="${python%/*}:$PATH" ;; esac
}

check_python() { # one line instead of a traceback if seqmodel cannot run; works with any Python
    local said
    said=$("$python" -c '
import sys
if sys.version_info < (3, 11):
    print("is Python %d.%d, and seqmodel needs 3.11 or later" % sys.version_info[:2])
else:
    from importlib.util import find_spec
    names = "torch", "pytorch_lightning", "torchmetrics", "numpy", "jaxtyping"
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        print("has no " + ", ".join(missing))
') || said='cannot be started'
    if [ -n "$said" ]; then
        say "$python $said: set venv, requirements, python or modules to an environment that has it" >&2
        return 1
    fi
}

stage() {
    if ! [ -d "$workdir" ]; then
        say "workdir $workdir: no such folder on this node" >&2
        return 1
    fi
    if [ "$here" = "$workdir" ]; then return; fi
    mkdir -p -- "$here" || return
    if [ "$stage_code" = 1 ]; then
        tar -xzf "$code_archive" -C "$here" || return
        event "staged what=code archive=${code_archive##*/} where=$here"
    fi
    link_rest_of_packages
    link_rest "$workdir" "$here"
    if [ "$stage_data" = 1 ]; then stage_data; fi
}

stage_data() {
    local path kb=0 free size copied
    copied=()
    for path in ${data_files[@]+"${data_files[@]}"}; do
        if [ -f "$workdir/$path" ]; then copied+=("$path"); fi
    done
    for path in ${stage_paths[@]+"${stage_paths[@]}"}; do
        if ! [ -e "$workdir/$path" ]; then
            say "stage_paths: $workdir/$path: no such file" >&2
            return 1
        fi
        copied+=("$path")
    done
    for path in ${copied[@]+"${copied[@]}"}; do
        size=$(du -skL -- "$workdir/$path" | cut -f 1)
        if is_archive "$path"; then size=$((size * 4)); fi
        kb=$((kb + size))
    done
    free=$(df -Pk -- "$node" | awk 'NR == 2 {print $4}')
    if [ "$((kb + kb / 10))" -gt "$free" ]; then
        say "data are used in place: $kb kB do not fit into the $free kB of $node"
        event "staged what=data in_place=1 kb=$kb free_kb=$free"
        return 0
    fi
    for path in ${copied[@]+"${copied[@]}"}; do stage_path "$path" || return; done
    event "staged what=data in_place=0 kb=$kb free_kb=$free"
}

is_archive() {
    local path
    for path in ${archives[@]+"${archives[@]}"}; do
        if [ "$path" = "$1" ]; then return 0; fi
    done
    return 1
}

stage_path() { # stage_path PATH: copy it, or unpack an archive, to the same path below $here
    local parent=.
    case "$1" in */*) parent=${1%/*} ;; esac
    real_folder "$parent" || return
    if is_archive "$1"; then
        case "$1" in
            *.zip) "$python" -m zipfile -e "$workdir/$1" "$here/$parent" ;;
            *) tar -xf "$workdir/$1" -C "$here/$parent" ;;
        esac
        return
    fi
    local file
    # a FASTA file is copied with the store that was built from it
    for file in "$workdir/$1" "$workdir/$1".*.seqstore; do
        if [ -e "$file" ]; then
            rm -rf -- "$here/$parent/${file##*/}"
            cp -RLp -- "$file" "$here/$parent/" || return
        fi
    done
}

real_folder() { # make each folder of the path a real folder on the node, with links to its content
    local rest=$1/ at='' part
    while [ -n "$rest" ]; do
        part=${rest%%/*} rest=${rest#*/}
        if [ -z "$part" ] || [ "$part" = . ]; then continue; fi
        at=$at/$part
        if [ -L "$here$at" ] || ! [ -d "$here$at" ]; then
            rm -f -- "$here$at"
            mkdir -- "$here$at" || return
        fi
        link_rest "$workdir$at" "$here$at"
    done
}

link_rest_of_packages() { # only the code of the user's packages was unpacked
    local folder
    find "$here" -mindepth 1 -type d ! -path "$here/seqmodel" ! -path "$here/seqmodel/*" -print0 |
        while IFS= read -r -d '' folder; do
            folder=${folder#"$here/"}
            if [ -d "$workdir/$folder" ]; then link_rest "$workdir/$folder" "$here/$folder"; fi
        done
}

link_rest() { # link_rest FROM TO: link what TO lacks; existing names stay
    # without .git: the files on the node are not a checkout, and git would report changes
    find "$1" -mindepth 1 -maxdepth 1 ! -name .git -exec sh -c 'ln -s -- "$@" "$0/" 2> /dev/null' "$2" {} +
    return 0
}
