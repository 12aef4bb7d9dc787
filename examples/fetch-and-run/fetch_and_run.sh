#!/usr/bin/env bash
# Fetch a script, or a zip with a script in it, and run it: one image for many jobs.
#
#   BATCH_FILE_TYPE    script | zip
#   BATCH_FILE_S3_URL  s3://BUCKET/KEY      fetched with the AWS CLI, or
#   BATCH_FILE_URL     file:///PATH         a file the job can see, such as one in a mounted volume
#
#   script: fetch_and_run.sh LABEL [ARGUMENT...]     runs the file with the arguments
#   zip:    fetch_and_run.sh SCRIPT [ARGUMENT...]    unpacks, runs SCRIPT with the arguments
#
# Exit code: the script's own; 2 for a wrong call (usage on standard output), 1 when something is
# missing or cannot be fetched. The script replaces this one, so a signal of the queue reaches it.
set -uo pipefail
name=${0##*/}

usage() {
  if [ $# -gt 0 ]; then
    printf '%s - %s\n\n' "$name" "$1"
  fi
  sed -n '2,/^set /{ /^set /d; s/^# \{0,1\}//; p; }' "$0"
  exit 2
}
fail() {
  printf '%s - %s\n' "$name" "$1" >&2
  exit 1
}

url=${BATCH_FILE_S3_URL:-${BATCH_FILE_URL:-}}
type=${BATCH_FILE_TYPE:-}
case $type in
  script | zip) ;;
  '') usage "BATCH_FILE_TYPE is not set" ;;
  *) usage "BATCH_FILE_TYPE is '$type', and must be script or zip" ;;
esac
[ -n "$url" ] || usage "neither BATCH_FILE_S3_URL nor BATCH_FILE_URL is set"
if [ -n "${BATCH_FILE_S3_URL:-}" ]; then
  case $url in s3://*) ;; *) usage "BATCH_FILE_S3_URL is '$url', and must begin with s3://" ;; esac
else
  case $url in file:///*) ;; *) usage "BATCH_FILE_URL is '$url', and must begin with file:///" ;; esac
fi
if [ "$type" = zip ] && [ $# = 0 ]; then
  usage "with BATCH_FILE_TYPE=zip the first argument names the script in the zip"
fi

folder=$(mktemp -d -t fetch_and_run.XXXXXXXXX) || fail "cannot make a temporary folder"
# Only a failure before the script starts comes here; exec leaves the folder to the script.
trap 'rm -rf "$folder"' EXIT
fetched=$folder/batch-file-temp

case $url in
  s3://*)
    command -v aws >/dev/null || fail "the AWS CLI is not in this image, and s3:// needs it"
    aws s3 cp "$url" - >"$fetched" || fail "cannot fetch $url"
    ;;
  file://*)
    cp -- "${url#file://}" "$fetched" || fail "cannot read ${url#file://}; is it in a mounted volume?"
    ;;
esac

if [ "$type" = script ]; then
  chmod u+x "$fetched" || fail "cannot make the script executable"
  # The first argument is a label for people who read the job's command.
  if [ $# -gt 0 ]; then shift; fi
  exec "$fetched" "$@"
fi

cd "$folder" || fail "cannot enter $folder"
if command -v unzip >/dev/null; then
  unzip -q "$fetched" || fail "cannot unpack $url"
elif command -v python3 >/dev/null; then
  python3 -m zipfile -e "$fetched" . || fail "cannot unpack $url"
else
  fail "neither unzip nor python3 is in this image, and a zip needs one of them"
fi
script=$1
shift
[ -f "./$script" ] || fail "$script is not in $url"
chmod u+x "./$script" || fail "cannot make $script executable"
exec "./$script" "$@"
