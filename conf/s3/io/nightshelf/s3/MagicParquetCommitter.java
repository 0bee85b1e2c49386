package io.nightshelf.s3;

import java.io.IOException;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.s3a.commit.magic.MagicS3GuardCommitter;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.JobStatus;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.lib.output.FileOutputCommitter;
import org.apache.hadoop.mapreduce.lib.output.PathOutputCommitter;
import org.apache.parquet.hadoop.ParquetOutputCommitter;

/**
 * Writes Parquet files of a job to where they belong, without renames, which an object store does by copies: each task
 * begins an upload, and the job completes those of the tasks that succeeded. Hadoop's magic committer does the work;
 * Spark asks for a ParquetOutputCommitter. On a disk files are committed as ever.
 */
public final class MagicParquetCommitter extends ParquetOutputCommitter {
  private final PathOutputCommitter committer;

  public MagicParquetCommitter(Path output, TaskAttemptContext context) throws IOException {
    super(output, context);
    boolean onStore = "s3a".equals(output.getFileSystem(context.getConfiguration()).getScheme());
    committer = onStore ? new MagicS3GuardCommitter(output, context) : new FileOutputCommitter(output, context);
  }

  @Override
  public Path getWorkPath() throws IOException {
    return committer.getWorkPath();
  }

  @Override
  public void setupJob(JobContext context) throws IOException {
    committer.setupJob(context);
  }

  @Override
  public void setupTask(TaskAttemptContext context) throws IOException {
    committer.setupTask(context);
  }

  @Override
  public boolean needsTaskCommit(TaskAttemptContext context) throws IOException {
    return committer.needsTaskCommit(context);
  }

  @Override
  public void commitTask(TaskAttemptContext context) throws IOException {
    committer.commitTask(context);
  }

  @Override
  public void abortTask(TaskAttemptContext context) throws IOException {
    committer.abortTask(context);
  }

  @Override
  public void commitJob(JobContext context) throws IOException {
    committer.commitJob(context);
  }

  @Override
  public void abortJob(JobContext context, JobStatus.State state) throws IOException {
    committer.abortJob(context, state);
  }

  @Override
  @Deprecated
  public void cleanupJob(JobContext context) throws IOException {
    committer.cleanupJob(context);
  }
}
