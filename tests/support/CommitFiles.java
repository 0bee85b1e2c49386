import io.nightshelf.s3.MagicParquetCommitter;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapred.JobConf;
import org.apache.hadoop.mapreduce.JobID;
import org.apache.hadoop.mapreduce.TaskAttemptID;
import org.apache.hadoop.mapreduce.TaskID;
import org.apache.hadoop.mapreduce.TaskType;
import org.apache.hadoop.mapreduce.task.TaskAttemptContextImpl;

/** A job of three tasks, one of which fails: prints the files that readers see before and after it is committed. */
public final class CommitFiles {
  public static void main(String[] args) throws Exception {
    JobConf conf = new JobConf(new Configuration());
    conf.set("fs.s3a.endpoint", args[0]);
    conf.set("fs.s3a.endpoint.region", "us-east-1");
    conf.set("fs.s3a.path.style.access", "true");
    conf.set("fs.s3a.connection.ssl.enabled", "false");
    conf.set("spark.sql.sources.writeJobUUID", UUID.randomUUID().toString());
    conf.set("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false");
    conf.set("mapreduce.job.application.attempt.id", "1");
    conf.set("mapreduce.fileoutputcommitter.algorithm.version", "1"); // as Spark has it
    Path output = new Path(args[1]);
    JobID job = new JobID("job", 1);
    FileSystem fs = output.getFileSystem(conf);
    MagicParquetCommitter driver = null;
    for (int task = 0; task < 3; task++) {
      TaskAttemptID attempt = new TaskAttemptID(new TaskID(job, TaskType.MAP, task), 0);
      TaskAttemptContextImpl context = new TaskAttemptContextImpl(conf, attempt);
      MagicParquetCommitter committer = new MagicParquetCommitter(output, context);
      if (driver == null) {
        driver = committer;
        driver.setupJob(context);
      }
      committer.setupTask(context);
      try (var file = fs.create(new Path(committer.getWorkPath(), "run_month=2024-03/part-" + task + ".parquet"))) {
        file.write(task);
      }
      if (task == 1) {
        committer.abortTask(context);
      } else if (committer.needsTaskCommit(context)) {
        committer.commitTask(context);
      }
      if (task == 2) {
        show("before", fs, output);
        driver.commitJob(context);
        show("after", fs, output);
      }
    }
  }

  private static void show(String when, FileSystem fs, Path output) throws Exception {
    var files = fs.listFiles(output, true);
    while (files.hasNext()) {
      String path = files.next().getPath().toString();
      if (path.endsWith(".parquet") && !path.contains("__magic") && !path.contains("_temporary")) {
        System.out.println(when + " " + path.substring(path.indexOf("run_month")));
      }
    }
  }
}
