# radlabel as a container: the lean core (no torch), a user without rights, nothing but the command.
#
#   docker build --tag radlabel .
#   docker run --rm --network none --read-only --tmpfs /tmp --volume "$PWD":/data radlabel label reports.csv -o labels.csv
#
# tests/test_lean_install.py runs the steps below outside of a container, in a folder of its own.

FROM python:3.11-slim-bookworm AS builder
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY corpora ./corpora
COPY models ./models
COPY nlp_service ./nlp_service
RUN python -m venv /opt/radlabel
RUN /opt/radlabel/bin/python -m pip install --quiet --constraint constraints.txt .

FROM python:3.11-slim-bookworm
COPY --from=builder /opt/radlabel /opt/radlabel
# The user has no entry in /etc/passwd and needs none: caches go where HOME points.
ENV PATH=/opt/radlabel/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
# Reads the packaged demo reports: the vocabulary loads, the rules run, the answers are complete.
HEALTHCHECK --interval=5m --timeout=60s --start-period=10s --retries=3 CMD ["radlabel", "demo", "--check"]
ENTRYPOINT ["radlabel"]
CMD ["--help"]
