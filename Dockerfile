# tradingd in a container, for those who want one; docs/SERVICE.md. Not built by CI: try it before you trust it.
#   docker build -t tradingd .
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN python -m venv /opt/tradingd \
    && /opt/tradingd/bin/python -m pip install --no-cache-dir --disable-pip-version-check -c /src/constraints.txt '/src[api]'

FROM python:3.12-slim
COPY --from=build /opt/tradingd /opt/tradingd
# A number, not a name: it owns the volumes and the secrets on the host, too.
RUN install -d -m 0700 -o 10001 -g 10001 /var/lib/tradingd /var/lib/tradingd-guardian /run/tradingd
ENV PATH=/opt/tradingd/bin:$PATH LANG=C.UTF-8 PYTHONFAULTHANDLER=1 PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1 \
    POLARS_MAX_THREADS=1 OPENBLAS_NUM_THREADS=1 \
    TRADINGD_RUNTIME_DIR=/run/tradingd TRADINGD_STATE_DIR=/var/lib/tradingd TRADINGD_SECRETS_DIR=/run/secrets
USER 10001:10001
WORKDIR /var/lib/tradingd
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=90s --retries=3 CMD ["tradingd", "status"]
ENTRYPOINT ["tradingd"]
CMD ["run", "/etc/tradingd/account.toml"]
