# A slim image with a user of its own, which writes only to /data and /output.
FROM python:3.13-slim AS packages
COPY requirements.txt .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt

FROM python:3.13-slim
COPY --from=packages /venv /venv
WORKDIR /firnline
COPY LICENSE .
COPY actors actors
COPY config config
COPY firnline firnline
COPY gateway gateway
COPY scripts scripts
RUN python -m compileall -q actors config firnline gateway scripts
ENV PATH=/venv/bin:$PATH PYTHONPATH=/firnline PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 FIRNLINE_DATA_DIR=/data
RUN useradd --system --uid 10001 --no-create-home firnline && mkdir /data /output && chown firnline /data /output && ln -s /output output && ln -s /output .firnline
USER 10001
EXPOSE 8080
VOLUME ["/data", "/output"]
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ.get(\"FIRNLINE_HTTP__PORT\", 8080)}/livez', timeout=2)"]
ENTRYPOINT ["python", "scripts/serve.py"]
