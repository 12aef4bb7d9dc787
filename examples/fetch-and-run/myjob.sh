#!/bin/sh
# The payload of the walk-through: says who it is, works for a moment, says goodbye.
echo "Args: $*"
echo "Job:  ${AWS_BATCH_JOB_ID:-none}, attempt ${AWS_BATCH_JOB_ATTEMPT:-none}, queue ${AWS_BATCH_JQ_NAME:-none}"
echo "Greeting from the environment: ${GREETING:-nobody set one}"
echo "Sleeping for ${1:-1} seconds"
sleep "${1:-1}"
echo "Bye"
