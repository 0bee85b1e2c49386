# The jobs: drivers, workers and executors of a Spark cluster. Build from the repository's root:
#     docker build -f conf/docker/jobs.Dockerfile -t nightshelf-jobs .
FROM python:3.11-slim-bookworm AS jobs
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgomp1 make openjdk-17-jre-headless procps \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir uv==0.13.9 \
    && useradd --uid 10001 --create-home nightshelf
WORKDIR /opt/nightshelf
COPY pyproject.toml uv.lock README.md ./
COPY schemas schemas
COPY jobs jobs
COPY udfs udfs
COPY conf conf
RUN uv sync --frozen --no-default-groups && .venv/bin/python -m jobs.commands.doctor --conf conf/complete_journey.toml
# What Spark needs of ours for lakes on an object store: a stage of its own has the compiler.
FROM jobs AS jar
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-17-jdk-headless
RUN .venv/bin/python -m jobs.commands.build_jar
FROM jobs
COPY --from=jar /opt/nightshelf/build build
ENV PATH=/opt/nightshelf/.venv/bin:$PATH PYTHONPATH=/opt/nightshelf HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
ENTRYPOINT ["/opt/nightshelf/conf/docker/entrypoint.sh"]
