FROM python:3.13-slim
WORKDIR /firnline
COPY requirements.txt .
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt
COPY actors actors
COPY config config
COPY gateway gateway
COPY scripts scripts
ENV PYTHONPATH=/firnline PYTHONUNBUFFERED=1
RUN useradd --system firnline && mkdir output data && chown firnline output data
ENV FIRNLINE_DATA_DIR=/firnline/data
USER firnline
EXPOSE 8080
ENTRYPOINT ["python", "scripts/serve.py"]
