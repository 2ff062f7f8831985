# The server in a container, for a GPU (`--target gpu`) or a plain CPU (`--target cpu`).
#
# The bases are named by tag. A tag can move; a digest cannot. To pin a base, read the line
# "Digest:" of `docker buildx imagetools inspect BASE` once and pass it to every build:
#
#     docker build --target gpu --build-arg GPU_BASE_DIGEST=sha256:... -t tritone:gpu .
#
# Nothing is fetched or built when a container starts; its root file system may be read-only.
ARG CPU_BASE=python:3.11-slim-bookworm
ARG CPU_BASE_DIGEST=""
ARG GPU_BASE=nvcr.io/nvidia/tritonserver:25.06-trtllm-python-py3
ARG GPU_BASE_DIGEST=""


FROM ${CPU_BASE}${CPU_BASE_DIGEST:+@${CPU_BASE_DIGEST}} AS cpu-installed

RUN useradd --no-log-init --uid 10001 --user-group --create-home --home-dir /var/cache/tritone tritone \
    && install -d -o tritone -g tritone /var/lib/tritone/voices
WORKDIR /opt/tritone

# Only the binaries of this wheel are used, so it comes without its dependencies.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --target .triton nvidia-pytriton==0.7.0

# PyTorch's own index has builds for the CPU; the one on PyPI brings gigabytes of CUDA.
# Empty: whatever pip is configured with.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    pip install ${TORCH_INDEX_URL:+--index-url "${TORCH_INDEX_URL}"} -c /tmp/constraints.txt torch

RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,target=/src,rw \
    pip install -c /src/constraints.txt '/src[convert,gateway]'

# The language model's graph for the CPU: a running container could not write it.
RUN python3 -c "import tritone; tritone.load().close()"


# Attention in C for every processor that there is a kernel for, whatever the one that builds: it
# need not run them. The compiler stays behind.
FROM cpu-installed AS cpu-kernels

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN TRITONE_KERNELS=/opt/tritone/kernels tritone kernels --all


FROM cpu-installed AS cpu

# Root's, and not in the cache: that is a volume, which outlives the image.
ENV TRITONE_KERNELS=/opt/tritone/kernels
COPY --from=cpu-kernels /opt/tritone/kernels /opt/tritone/kernels

USER 10001:10001
VOLUME /var/cache/tritone
EXPOSE 8000 8001 8002
# Both SIGINT and SIGTERM drain the server; after SIGINT the launcher's exit status is 0.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
ENTRYPOINT ["tritone", "serve", "--address", "0.0.0.0", "--wheel-dir", "/opt/tritone/.triton", \
            "--cache-dir", "/var/cache/tritone", "--echo-log", "--no-gateway", "--profile", "cpu"]


FROM ${GPU_BASE}${GPU_BASE_DIGEST:+@${GPU_BASE_DIGEST}} AS gpu

RUN useradd --no-log-init --uid 10001 --user-group --create-home --home-dir /var/cache/tritone tritone \
    && install -d -o tritone -g tritone /var/lib/tritone/voices
WORKDIR /opt/tritone

# The base has torch, tensorrt and tensorrt_llm built for one another. Everything it has is a
# constraint, so pip adds what is missing and fails rather than replace any of it. NVIDIA's images
# may name a constraint file of their own; what is installed is the better one. Nothing there is
# built for typer, which the command line wants newer.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,target=/src,rw \
    python3 -m pip list --format=freeze > /tmp/base.txt \
    && sed -i '/^typer==/d' /tmp/base.txt \
    && env --unset=PIP_CONSTRAINT python3 -m pip install --break-system-packages \
        --only-binary :all: -c /tmp/base.txt '/src[gateway]' \
    && rm /tmp/base.txt

# What measures a GPU and tries NVIDIA's C++ backend; beside the server, and not served.
COPY benchmarks benchmarks

USER 10001:10001
VOLUME /var/cache/tritone
EXPOSE 8000 8001 8002
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
# NVIDIA's entry point chooses the CUDA compatibility libraries for an older driver, then becomes
# the command.
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh", \
            "tritone", "serve", "--address", "0.0.0.0", \
            "--cache-dir", "/var/cache/tritone", "--echo-log", "--no-gateway", "--profile", "gpu"]
