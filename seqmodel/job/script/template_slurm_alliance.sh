#!/bin/bash
{directives}
# {title}
#
# To run it by hand, from its folder: sbatch --output=stdout --error=stderr {script}

folder={folder}
script={script}
token={token}
args=({args})

workdir={workdir}
code_path={code_path}
code_archive={code_archive}
data_files=({data_files})
stage_paths=({stage_paths})
archives=({archives})
python={python}
venv={venv}
requirements={requirements}
wheels={wheels}
node_storage={node_storage}
run_setup=({setup})
run_env=({env})

stage_code={stage_code} stage_data={stage_data}
fast_dev_run_first={fast_dev_run_first} checkpoint_check={checkpoint_check}
requeue={requeue} max_requeues={max_requeues} heartbeat_s={heartbeat_s}
n_nodes={n_nodes} n_ranks={n_ranks}

# The clusters of the Digital Research Alliance of Canada: software comes as modules and as wheels
# that the cluster keeps; compute nodes have no network. $SLURM_TMPDIR is the node's own disk.
environment() {{
    use_modules {modules} || return
    if [ -z "$requirements" ]; then
        use_environment
        return
    fi
    virtualenv --no-download "$node/env" || return
    "$node/env/bin/pip" install --quiet --no-index --upgrade pip || return
    "$node/env/bin/pip" install --quiet --no-index -r "$requirements" || return
    found_environment
}}

. {node_functions}
job_main "$@"
