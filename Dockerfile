# The gateway: no compiler, no pip, no torch. docs/DEPLOY.md says how to build it behind a mirror.
#
# The digest is the multi-platform index that the tag named in August 2026; that page also says how
# to look up the one it names now. Any image with Python 3.11 or newer, a shell and coreutils will do.
ARG BASE_IMAGE=docker.io/library/python:3.11.15-slim-trixie@sha256:db3ff2e1800a8581e2c48a27c3995339d47bdf046da21c7627accd3d51053a93

FROM ${BASE_IMAGE} AS build

# pip reads these from its environment. Credentials never belong in a build argument, which stays in
# the image's history: they come in the secret `pip_conf` (a pip.conf), which leaves no trace. The
# secret `ca_bundle` is for a mirror with a certificate of its own; PIP_CERT says to use it.
ARG PIP_INDEX_URL=https://pypi.org/simple
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_FIND_LINKS=
ARG PIP_NO_INDEX=0
ARG PIP_CERT=
ENV PIP_CONFIG_FILE=/run/secrets/pip_conf \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /src

# Two environments: pip and setuptools live in the one that stays behind.
COPY pyproject.toml constraints.txt ./
RUN --mount=type=secret,id=pip_conf,target=/run/secrets/pip_conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    python3 -m venv /opt/build \
    && python3 -m venv --without-pip /opt/discern \
    && /opt/build/bin/pip install --quiet --constraint constraints.txt setuptools

# Dependencies before source: a change of the code leaves this layer alone.
RUN --mount=type=secret,id=pip_conf,target=/run/secrets/pip_conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    /opt/build/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; extras = p["optional-dependencies"]; print(*p["dependencies"], *extras["ort"], *extras["otlp"], *extras["redis"], sep="\n")' > requirements.txt \
    && /opt/build/bin/pip --python /opt/discern/bin/python install --quiet --no-compile \
        --only-binary :all: --constraint constraints.txt --requirement requirements.txt

COPY README.md LICENSE ./
COPY docker/trim.py docker/trim.py
COPY discern discern
COPY service service
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir /wheel . \
    && /opt/build/bin/pip --python /opt/discern/bin/python install --quiet --no-compile --no-deps \
        --no-index /wheel/*.whl \
    && /opt/build/bin/python docker/trim.py /opt/discern

# An image layer keeps whole seconds, and both Python and Numba trust a file's time: set every time
# to one whole second first, then compile, so that what is compiled here is what is found at run time.
ARG SOURCE_DATE_EPOCH=1760000000
ENV NUMBA_CACHE_DIR=/opt/discern/kernels
RUN find /opt/discern -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} + \
    && /opt/discern/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/discern/lib \
    && mkdir -p "${NUMBA_CACHE_DIR}" \
    && /opt/discern/bin/python -I -c 'from service.warmup import compile_kernels; compile_kernels()'

COPY model_repository /models


FROM ${BASE_IMAGE} AS gateway

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="discern" \
      org.opencontainers.image.description="Instance segmentation over HTTP: every pixel becomes a vector, clusters of vectors become objects." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

COPY --from=build /opt/discern /opt/discern
COPY --from=build /models /models
COPY --chmod=0755 docker/entrypoint /opt/discern/bin/entrypoint

# One thread per BLAS call: parallelism is the gateway's own (DISCERN_WORKERS and
# DISCERN_INFERENCE_THREADS). ONNX Runtime's wheels report to their maker unless told not to
# (microsoft/onnxruntime#27379).
ENV PATH=/opt/discern/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    ORT_DISABLE_TELEMETRY=1 \
    NUMBA_CACHE_DIR=/tmp/kernels \
    DISCERN_HOST=0.0.0.0 \
    DISCERN_PORT=8000 \
    DISCERN_MODEL_REPOSITORY=/models

# A number, so that Kubernetes can see that it is not root; no entry in /etc/passwd is needed.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/opt/discern/bin/python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['DISCERN_PORT'] + '/readyz', timeout=4)"]
ENTRYPOINT ["/opt/discern/bin/entrypoint"]
CMD ["serve"]
