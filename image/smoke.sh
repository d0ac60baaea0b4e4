#!/bin/sh
# What must hold inside the image, as the user that it runs as and with its variables:
#   docker run --rm -i IMAGE sh -s < image/smoke.sh
# Prints a line for each; the first that does not hold ends it with exit 1.
set -eu
fail() { echo "smoke: $1" >&2; exit 1; }
is_writable() { touch "$1/.smoke" 2>/dev/null && rm "$1/.smoke"; }

[ "$(id -u)" = 1000 ] || fail "the user is $(id -u), expected 1000"
[ "$(pwd)" = "$HOME" ] || fail "the working folder is $(pwd), expected $HOME"
for folder in "$HOME" /tmp /gcs /minio /s3; do
  is_writable "$folder" || fail "$folder is not writable"
done
for folder in /opt/venv /opt/venv/lib/python3.13/site-packages /opt/code /opt/tfx-irm; do
  ! is_writable "$folder" || fail "$folder is writable"
done
for tool in gcc g++ cc make git uv pytest; do
  ! command -v "$tool" >/dev/null || fail "$tool is in the image"
done
echo "user, folders and tools: as they should be"

python -c 'import sys; assert sys.version_info[:2] == (3, 13), sys.version'
python -c 'import pipeline; assert "/site-packages/" in pipeline.__file__, pipeline.__file__'
tfx-irm --version

python -m tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor --help \
  2>/dev/null | grep -q -- --executor_class_path || fail "the executor's entry point does not start"
echo "the executor's entry point starts"

status=0
said=$(/opt/tfx-irm/entrypoint.sh sh -c 'echo "$1"; exit 7' - argument) || status=$?
[ "$status $said" = "7 argument" ] || fail "the entry point gave $status and '$said'"
if [ -x /opt/apache/beam/boot ]; then
  /opt/tfx-irm/entrypoint.sh --help 2>&1 | grep -q worker_pool || fail "Beam's entry point does not start"
  echo "Beam's entry point starts"
else
  status=0
  /opt/tfx-irm/entrypoint.sh --id=1 2>/dev/null || status=$?
  [ "$status" = 2 ] || fail "a worker's options gave $status without Beam's entry point, expected 2"
fi
echo "smoke: passed"
