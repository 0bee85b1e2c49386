#!/bin/sh
# Prints the GPUs of this machine in the words that Spark expects of a discovery script:
#     {"name": "gpu", "addresses": ["0", "1"]}
# An address is nvidia-smi's index. Where nvidia-smi fails or finds none, so does this script, and the worker or executor
# that asked does not start: better than one that looks for work and can do none.
set -eu
found=$(nvidia-smi --query-gpu=index --format=csv,noheader)
if [ -z "$found" ]; then
    echo "find-gpus.sh: nvidia-smi lists no GPU" >&2
    exit 1
fi
printf '{"name": "gpu", "addresses": [%s]}\n' "$(printf '%s\n' "$found" | sed 's/ //g; s/.*/"&"/' | paste -s -d , -)"
