import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.AclCommand;
import org.apache.kafka.tools.TopicCommand;

/**
 * Runs Kafka's own command line tools one after the other in one JVM, which starts once instead of for each command.
 *
 * Standard input has one command in each line, its words separated by U+001F. The output of each ends with a line that
 * holds U+001E. The first command that fails ends the program with its exit code.
 */
public final class StockTools {
    private static final String WORD = String.valueOf((char) 0x1f);
    private static final String END = String.valueOf((char) 0x1e);

    public static void main(String[] none) throws Exception {
        Exit.setExitProcedure((code, message) -> {
            if (code != 0) {
                System.out.flush();
                Runtime.getRuntime().halt(code);
            }
        });
        var commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = commands.readLine()) != null; ) {
            String[] words = line.split(WORD, -1);
            String[] arguments = Arrays.copyOfRange(words, 1, words.length);
            switch (words[0]) {
                case "kafka-acls.sh" -> AclCommand.main(arguments);
                case "kafka-topics.sh" -> TopicCommand.main(arguments);
                default -> throw new IllegalArgumentException(words[0]);
            }
            System.out.println(END);
        }
    }
}
