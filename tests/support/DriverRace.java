import io.delta.storage.LogStore;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;

/** One driver of several that commit to one Delta log at once: prints the versions that it believes to be its own. */
public final class DriverRace {
  public static void main(String[] args) throws Exception {
    String url = args[0], store = args[1], name = args[2], start = args[3];
    int commits = Integer.parseInt(args[4]);
    Configuration conf = new Configuration();
    conf.set("fs.s3a.endpoint", url);
    conf.set("fs.s3a.endpoint.region", "us-east-1");
    conf.set("fs.s3a.path.style.access", "true");
    conf.set("fs.s3a.connection.ssl.enabled", "false");
    conf.set("fs.s3a.create.performance", "true");
    LogStore log = (LogStore) Class.forName(store).getConstructors()[0].newInstance(conf);
    String folder = "s3a://shop/lake/raced_" + store + "/_delta_log/";
    new org.apache.hadoop.fs.Path(folder).getFileSystem(conf).exists(new org.apache.hadoop.fs.Path(folder));
    Files.writeString(Path.of(start + "." + name), "");
    while (!Files.exists(Path.of(start))) {
      Thread.sleep(1);
    }
    List<Integer> won = new ArrayList<>();
    for (int version = 0; won.size() < commits; version++) {
      String line = "{\"commitInfo\":{\"by\":\"" + name + "\"}}";
      var file = new org.apache.hadoop.fs.Path(folder + String.format("%020d.json", version));
      try {
        log.write(file, List.of(line).iterator(), false, conf);
        won.add(version);
      } catch (FileAlreadyExistsException | org.apache.hadoop.fs.FileAlreadyExistsException faster) {
        continue;
      }
    }
    System.out.println(won);
  }
}
