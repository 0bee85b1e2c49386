package io.nightshelf.s3;

import io.delta.storage.HadoopFileSystemLogStore;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Arrays;
import java.util.Iterator;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Commits of Delta tables on an object store by conditional create (PUT with If-None-Match): of two drivers that write
 * the same version one gets FileAlreadyExistsException, whatever machine it runs on. The store must keep the condition;
 * Nightshelf probes it before it writes.
 *
 * An answer may be lost after the object was written, and the client then repeats the request and is refused by its own
 * object. So each has the id of its write in its metadata, which is read back after any failure.
 */
public final class ConditionalLogStore extends HadoopFileSystemLogStore {
  private static final String CREATE_IF_NONE = "fs.option.create.conditional.overwrite";
  private static final String WRITE_ID = "nightshelf-write-id";

  public ConditionalLogStore(Configuration conf) {
    super(conf);
  }

  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration conf) throws IOException {
    FileSystem fs = path.getFileSystem(conf);
    String id = UUID.randomUUID().toString();
    FSDataOutputStreamBuilder<?, ?> builder = fs.createFile(path).overwrite(true);
    builder.opt("fs.s3a.create.header." + WRITE_ID, id);
    if (!overwrite) {
      builder.must(CREATE_IF_NONE, true);
    }
    try {
      try (FSDataOutputStream stream = builder.build()) {
        while (actions.hasNext()) {
          stream.write((actions.next() + "\n").getBytes(StandardCharsets.UTF_8));
        }
      }
    } catch (IOException failure) {
      byte[] stored = writeId(fs, path, failure);
      if (stored == null) {
        throw failure;
      }
      if (Arrays.equals(stored, id.getBytes(StandardCharsets.UTF_8))) {
        return;
      }
      if (overwrite) {
        throw failure;
      }
      FileAlreadyExistsException refused = new FileAlreadyExistsException(path.toString());
      refused.initCause(failure);
      throw refused;
    }
  }

  /** The write id of an object: empty where it has none, null where there is no object. */
  private static byte[] writeId(FileSystem fs, Path path, IOException failure) throws IOException {
    try {
      if (!fs.exists(path)) {
        return null;
      }
      byte[] stored = fs.getXAttr(path, "header." + WRITE_ID);
      return stored == null ? new byte[0] : stored;
    } catch (IOException unclear) {
      failure.addSuppressed(unclear);
      throw failure;
    }
  }

  @Override
  public Boolean isPartialWriteVisible(Path path, Configuration conf) {
    return false;
  }
}
