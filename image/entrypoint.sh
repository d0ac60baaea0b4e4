#!/bin/sh
# Runs the command that it is given. Beam's runners give none, only the options of a worker
# (--id=..., --control_endpoint=...): those go to Beam's own entry point.
set -eu
case "${1:-}" in
  -*)
    boot=/opt/apache/beam/boot
    if [ ! -x "$boot" ]; then
      echo "entrypoint.sh: $1 is an option of a Beam worker and this image has none: build it with --build-arg BEAM=1, or name a command (tfx-irm $1)." >&2
      exit 2
    fi
    exec "$boot" "$@"
    ;;
esac
exec "$@"
