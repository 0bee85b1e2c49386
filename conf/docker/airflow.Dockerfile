# Airflow beside the jobs, in an environment of its own: its tasks are the drivers (client mode). Build it after the jobs:
#     docker build -f conf/docker/airflow.Dockerfile -t nightshelf-airflow .
FROM nightshelf-jobs
COPY dags dags
RUN uv venv -q --python 3.11 .venv-airflow \
    && uv pip sync --python .venv-airflow/bin/python dags/requirements.txt
# standalone starts its parts by name.
ENV PATH=/opt/nightshelf/.venv-airflow/bin:$PATH AIRFLOW_HOME=/opt/airflow AIRFLOW__CORE__DAGS_FOLDER=/opt/nightshelf/dags AIRFLOW__CORE__LOAD_EXAMPLES=False
ENTRYPOINT ["airflow"]
CMD ["standalone"]
