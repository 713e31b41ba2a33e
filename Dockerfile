# syntax=docker/dockerfile:1
# The image of the service: `docker build --tag hookstream:0.1.0 .`; docs/deploy/docker.md says how to run it.
#
# The base of 25 August 2026, for all platforms; another one with --build-arg PYTHON_IMAGE=…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b

FROM ${PYTHON_IMAGE} AS build
# Extras of the package, comma-separated: `otel,msk` for Amazon MSK with IAM, which adds 30 MB.
ARG EXTRAS=otel
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY scripts/locked.py scripts/
COPY topics topics
COPY schemas schemas
COPY app app
# The wheel, then what it needs: only versions and hashes of requirements.lock are accepted.
RUN python scripts/locked.py setuptools >/tmp/build.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r /tmp/build.txt \
    && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . \
    && python -m venv /opt/hookstream \
    && python scripts/locked.py --needed-by /dist/*.whl --extra "${EXTRAS}" >/tmp/run.txt \
    && /opt/hookstream/bin/pip install --no-cache-dir --require-hashes -r /tmp/run.txt \
    && /opt/hookstream/bin/pip install --no-cache-dir --no-deps --no-index /dist/*.whl \
    && /opt/hookstream/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
# tini is process 1: it reaps children, and passes SIGTERM on also before the program has its handler.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 hookstream \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin hookstream \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/hookstream
COPY --from=build /opt/hookstream /opt/hookstream
# Nothing is written outside of /var/lib/hookstream and /tmp: the root can be read-only.
ENV PATH=/opt/hookstream/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HOOKSTREAM_DATA_DIR=/var/lib/hookstream/data
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080 9400
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=9 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('HOOKSTREAM_METRICS_PORT', '9400') + '/healthz', timeout=5)"]
ENTRYPOINT ["tini", "--", "hookstream"]
CMD ["--help"]
