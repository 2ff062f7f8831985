#!/bin/sh
# The tests in which processes, threads and servers wait for each other, ROUNDS times over: alone,
# beside two busy processes, and pinned to one core. Ends at the first failure.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
ROUNDS=${ROUNDS:-2}
FILES="balanced_server client_bench client_bench_server client_server doctor doctor_gpu doctor_mpi_imports
doctor_python doctor_server gate llm_engine llm_executor llm_failures loading loading_server
loading_watchdog metrics_server monitor_server monitor_view offline overlap pipeline
pipeline_guards reproduce_stall server server_errors server_launch timing tracing_server
training_pipeline trtllm_build turns"
BUSY='import os; parent = os.getppid()
while os.getppid() == parent: pass'

busy=""
end() { [ -z "$busy" ] || kill $busy 2>/dev/null || true; busy=""; }
trap end EXIT
trap 'exit 130' INT TERM

try() {  # name, then what goes in front of the command
    name=$1; shift
    echo "== round $round of $ROUNDS, $name"
    "$@" "$PYTHON" -m pytest -q \
        $(for file in $FILES; do find tests -name "test_$file.py"; done) || {
        echo "failed in round $round of $ROUNDS, $name" >&2
        exit 1
    }
}

round=0
while [ $round -lt "$ROUNDS" ]; do
    round=$((round + 1))
    try "alone" env
    for _ in 1 2; do "$PYTHON" -c "$BUSY" & busy="$busy $!"; done
    try "beside two busy processes" env
    end
    try "pinned to one core" taskset -c 0
done
echo "all $ROUNDS rounds passed"
