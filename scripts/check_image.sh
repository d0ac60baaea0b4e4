#!/usr/bin/env bash
# Checks the image and what builds it, without a Docker engine.
#
#   check_image.sh lint                      hadolint, and the YAML files by their schemas
#   check_image.sh build [NAME=VALUE ...]    builds the Dockerfile with these arguments, runs
#                                            image/smoke.sh in it, and adds own code to it
#
# `build` is a real build, by buildah on Debian 13 (../shared/tools/on-debian13): every stage
# and every step of the Dockerfile as it stands. The base image is made by debootstrap, since
# no registry of images is needed then; a stage that starts from another image (BEAM=1) needs
# that image in buildah's store. It needs root, a Debian mirror and, while it runs, about 20 GB
# under /var/tmp; the certificates that this system trusts are trusted in it.
# Exit 0 all is well; 1 something is not; 2 it could not try.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
self=scripts/check_image.sh
base=localhost/debian13-base
image=localhost/tfx-irm
store=/var/tmp/tfx-irm-image-store
files=$(ulimit -Hn) processes=$(ulimit -Hu)
limits=(--ulimit "nofile=${files/unlimited/-1}" --ulimit "nproc=${processes/unlimited/-1}")

# A store of its own: what somebody else built with buildah is left alone.
buildah() { command buildah --root "$store/layers" --runroot "$store/run" "$@"; }
fail() { echo "check_image.sh: $1" >&2; exit "${2:-1}"; }

lint() {
  for tool in hadolint check-jsonschema; do
    command -v "$tool" >/dev/null || fail "$tool is not on the PATH: run 'make venv', then 'make lint'." 2
  done
  hadolint Dockerfile
  check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
  check-jsonschema --builtin-schema vendor.cloudbuild cloudbuild.yaml
}

# ---- On the host: a root of its own, with the certificates that the host trusts.
build() {
  local on_debian13=../shared/tools/on-debian13 certificates=/usr/local/share/ca-certificates
  [ "$(id -u)" = 0 ] || fail "buildah is run as root here: be root, or use 'make image' with a Docker engine." 2
  [ -e "$on_debian13" ] || fail "$on_debian13 is not there: use 'make image' with a Docker engine." 2
  export DEBIAN13_ROOT=${IMAGE_ROOT:-/var/tmp/tfx-irm-image-root}
  bash "$on_debian13" true
  if [ -d "$certificates" ] && [ -d "$DEBIAN13_ROOT" ]; then
    mkdir -p "$DEBIAN13_ROOT$certificates"
    cp -rL "$certificates/." "$DEBIAN13_ROOT$certificates/"
  fi
  bash "$on_debian13" bash "$self" on-debian13 "$@"
}

# ---- On Debian 13: tools, the base image, and a / that is a mount point, as buildah wants.
on_debian13() {
  local log=/var/tmp/tfx-irm-image.log
  if ! type -P buildah debootstrap >/dev/null || [ ! -e /usr/lib/podman/netavark ]; then
    { apt-get update && apt-get install --yes --no-install-recommends \
        buildah crun debootstrap netavark; } >"$log" 2>&1 \
      || { tail -5 "$log" >&2; fail "buildah could not be installed" 2; }
  fi
  if mountpoint -q /; then
    bash "$self" steps "$@"
  else
    mkdir -p /mnt/root
    unshare --mount --propagation unchanged bash -c '
      mount --rbind / /mnt/root && mount --make-rprivate /mnt/root
      exec chroot /mnt/root bash -c "cd \"\$0\" && exec bash \"\$@\"" "$@"' \
      bash "$PWD" "$self" steps "$@"
  fi
}

make_base() {
  local folder
  folder=$(mktemp -d)
  debootstrap --variant=minbase trixie "$folder" >"$store/base.log" 2>&1 \
    || { tail -5 "$store/base.log" >&2; fail "the base image could not be made" 2; }
  chmod 0755 "$folder"
  rm -rf "$folder"/var/cache/apt/archives/*.deb
  mkdir -p "$folder/usr/local/share/ca-certificates"
  cp -r /usr/local/share/ca-certificates/. "$folder/usr/local/share/ca-certificates/"
  local container
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$folder" / >/dev/null
  buildah config --cmd bash "$container"
  buildah commit --quiet --rm "$container" "$base" >/dev/null
  rm -rf "$folder"
}

# buildah's own limits are higher than what a process may ask for everywhere.
build_image() { buildah build --layers=false --pull=never "${limits[@]}" "$@"; }

# Runs a command in an image as `docker run` would: its user, variables and folder.
run_in() {
  local container status=0
  container=$(buildah from --pull=never "${limits[@]}" "$1")
  buildah run "$container" -- "${@:2}" || status=$?
  buildah rm "$container" >/dev/null
  return "$status"
}

# What docs/image.md says to do with own code, with a module that is named as one of ours.
check_own_code() {
  local folder
  folder=$(mktemp -d)
  mkdir "$folder/my_model"
  echo 'from my_model.layers import WIDTH' >"$folder/my_model/__init__.py"
  echo 'WIDTH = 5' >"$folder/my_model/layers.py"
  echo 'raise RuntimeError("own code hides a package of the image")' >"$folder/yaml.py"
  printf 'FROM %s\nCOPY my_model/ /opt/code/my_model/\nCOPY yaml.py /opt/code/\n' "$image" \
    >"$folder/Dockerfile"
  build_image --quiet --tag "$image-own" "$folder" >/dev/null
  rm -rf "$folder"
  run_in "$image-own" python -c 'import my_model, yaml; print("own code:", my_model.__file__)'
}

# Leaves the base image and the cache of downloads, a few GB in all.
clean() {
  buildah rm --all >/dev/null
  buildah rmi --force "$image" "$image-own" >/dev/null 2>&1 || true
  buildah rmi --prune --force >/dev/null
}

steps() {
  export BUILDAH_ISOLATION=chroot TMPDIR=$store/tmp
  mkdir -p "$TMPDIR"
  local options=() argument
  for argument in "$@"; do options+=(--build-arg "$argument"); done
  trap clean EXIT
  clean
  buildah inspect --type image "$base" >/dev/null 2>&1 || make_base
  SECONDS=0
  build_image --build-arg "BASE=$base" "${options[@]}" --tag "$image" .
  echo "built in $SECONDS s: $(buildah images --format '{{.Size}}' "$image")"
  run_in "$image" sh -s <image/smoke.sh
  check_own_code
}

case "${1:-}" in
  lint) lint ;;
  build) build "${@:2}" ;;
  on-debian13) on_debian13 "${@:2}" ;;
  steps) steps "${@:2}" ;;
  *) fail "expected 'lint' or 'build', found '${1:-}'" 2 ;;
esac
