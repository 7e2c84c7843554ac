#!/bin/bash
# {title}
#
# To run it by hand: bash {script}

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
requeue=0 max_requeues=0 heartbeat_s={heartbeat_s}
n_nodes=1 n_ranks=1

environment() {{
    use_modules {modules} && use_environment
}}

. {node_functions}
job_main "$@"
