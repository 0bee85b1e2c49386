#!/bin/bash
# What a container of the jobs' image runs: the command that it is given. Spark on Kubernetes gives `executor` and, in the
# environment, what that is to be; of a driver in cluster mode it gives `driver` and spark-submit's arguments.
set -euo pipefail
if [ "${1:-}" = driver ]; then
  shift
  exec spark-submit --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" --deploy-mode client "$@"
fi
[ "${1:-}" = executor ] || exec "$@"
options=()
while IFS= read -r name; do options+=("${!name}"); done < <(compgen -e | grep '^SPARK_JAVA_OPT_[0-9]*$' | sort -t _ -k 4 -n)
jars="$(python -c 'import pathlib, pyspark; print(pathlib.Path(pyspark.__file__).parent / "jars")')"
exec java "${options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
  -cp "${SPARK_CONF_DIR:+$SPARK_CONF_DIR:}${SPARK_CLASSPATH:+$SPARK_CLASSPATH:}$jars/*" \
  org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
  --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
  --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" \
  --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" --podName "$SPARK_EXECUTOR_POD_NAME"
