# edge-mtcnn as an HTTP service, for amd64 and arm64; docs/deploy.md says how to run it.
#
#     docker build --tag edge-mtcnn .
#     docker build --tag edge-mtcnn:cuda --build-arg RUNTIME=gpu .      # NVIDIA cards, amd64
#
# BASE is any Debian or Ubuntu image with Python 3.11 or newer, its venv module and no ONNX Runtime.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ARG RUNTIME=cpu
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY edge_mtcnn edge_mtcnn
COPY models models
COPY packaging packaging
COPY samples samples
RUN python3 -m venv /opt/edge-mtcnn \
    && /opt/edge-mtcnn/bin/pip install --no-cache-dir --disable-pip-version-check ".[${RUNTIME},serve]" \
    && /opt/edge-mtcnn/bin/pip uninstall --yes --quiet pip

FROM ${BASE}
COPY --from=build /opt/edge-mtcnn /opt/edge-mtcnn
# NVIDIA's container toolkit reads these two; elsewhere they have no effect.
ENV PATH=/opt/edge-mtcnn/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# No user of that number exists, so it owns nothing; the service writes no file.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
# 503 from /healthz, when only a restart helps, is an error here too.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
# Other addresses than loopback need a token, from EDGE_MTCNN_TOKEN or --token-file.
ENTRYPOINT ["edge-mtcnn", "serve", "--host", "0.0.0.0"]
