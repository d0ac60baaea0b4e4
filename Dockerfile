# One image for every task of a compiled pipeline, for Vertex custom jobs and, with BEAM=1,
# for Beam's workers. docs/image.md says how to build it and how own code gets in.
#
#   docker build --tag tfx-irm .                           # CPU
#   docker build --tag tfx-irm-gpu --build-arg GPU=1 .     # with CUDA's libraries
#
# Needs BuildKit, which builds only the stages that the arguments ask for.

# Debian 13 is the oldest system that TFX 1.21 installs on, its Python is 3.13. The digest
# is the tag's of 18 September 2026. Another base: --build-arg BASE=...
ARG BASE=debian:trixie-20260918-slim@sha256:a99cfc517144bc59b1978475ec53b46ecabec7e43635402ee5b77cc54cd1b20a
# 1: CUDA's libraries, from requirements/stack-b-gpu.txt.
ARG GPU=0
# 1: Beam's worker entry point, so that Dataflow and Flink can start workers from the image.
ARG BEAM=0

# ---- What compiles: pyfarmhash, which TFDV needs, is published as source only.
FROM ${BASE} AS tools
# Debian's versions aren't pinned: its mirrors keep the newest of a release only.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
      ca-certificates gcc g++ python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The system's certificates, so that a base image with a company's own serves pip and uv.
ENV UV_NATIVE_TLS=1 UV_LINK_MODE=copy UV_NO_PROGRESS=1
COPY requirements/stack-b.txt requirements/
RUN --mount=type=cache,target=/root/.cache \
    python3 -m venv /opt/tools \
 && /opt/tools/bin/pip install --quiet --no-deps --constraint requirements/stack-b.txt \
      packaging setuptools uv wheel

# ---- The environment: rebuilt when a pinned version changes, not when code does.
FROM tools AS environment
COPY requirements/stack-b-run.txt requirements/
RUN --mount=type=cache,target=/root/.cache \
    python3 -m venv /opt/venv \
 && /opt/tools/bin/uv pip install --quiet --python /opt/venv/bin/python --no-deps \
      --compile-bytecode --build-constraints requirements/stack-b.txt \
      --requirements requirements/stack-b-run.txt
ARG GPU
COPY requirements/stack-b-gpu.txt requirements/
RUN --mount=type=cache,target=/root/.cache \
    if [ "${GPU}" = 1 ]; then \
      /opt/tools/bin/uv pip install --quiet --python /opt/venv/bin/python --no-deps \
        --compile-bytecode --requirements requirements/stack-b-gpu.txt; \
    fi

# ---- The wheel of this tree.
FROM tools AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY pipeline/ pipeline/
COPY components/ components/
COPY trainer_module/ trainer_module/
RUN /opt/tools/bin/pip wheel --quiet --no-deps --no-build-isolation --no-index \
      --wheel-dir /wheels .

# ---- Beam's worker entry point, of the version that is pinned (a test compares them).
FROM ${BASE} AS beam-0
RUN mkdir -p /opt/apache/beam

FROM apache/beam_python3.13_sdk:2.77.0 AS beam-1

# hadolint ignore=DL3006
FROM beam-${BEAM} AS beam

# ---- What runs: no compiler, no headers, no tool of ours but pip.
FROM ${BASE} AS runtime-0
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates libgomp1 python3 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 1000 tfx-irm \
 && useradd --uid 1000 --gid 1000 --create-home --shell /usr/sbin/nologin tfx-irm \
 # Where launchers of KFP before 2.3 write without asking who they are.
 && install --directory --owner 1000 --group 1000 /gcs /minio /s3 \
 && install --directory /opt/code
# Beam's entry point makes an environment of its own for each worker unless told not to,
# and one that is made from within a virtual environment does not see what is in it.
ENV PATH=/opt/venv/bin:${PATH} \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY --from=environment /opt/venv /opt/venv
COPY --chmod=0755 image/entrypoint.sh /opt/tfx-irm/entrypoint.sh

# With a GPU: TensorFlow finds CUDA's wheels by itself; the driver comes from the node, which
# mounts it (Kubernetes, at this path) or is asked to (NVIDIA's container runtime).
FROM runtime-0 AS runtime-1
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# ---- The package last: a change of code rebuilds what follows, and nothing above.
# hadolint ignore=DL3006
FROM runtime-${GPU} AS final
# Own code goes to /opt/code (docs/image.md). It is last on the path, so that no file of it
# hides a package of the image.
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --quiet --no-cache-dir --no-deps --no-index /wheels/*.whl \
 && echo /opt/code > "$(python -c 'import site; print(site.getsitepackages()[0])')/own_code.pth"
USER 1000:1000
WORKDIR /home/tfx-irm
# As the user that will run it, and from another folder than the sources.
RUN --mount=type=bind,source=image/check_imports.py,target=/tmp/check_imports.py \
    pip check && python /tmp/check_imports.py && tfx-irm --version
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="tfx-irm" \
      org.opencontainers.image.description="A TFX pipeline that releases a model only where it is shown to be invariant." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Kubeflow and Vertex give a command, which replaces the entry point; see the script.
ENTRYPOINT ["/opt/tfx-irm/entrypoint.sh"]
CMD ["tfx-irm", "--help"]
