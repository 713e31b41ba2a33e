import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;

/** Reads a request a line (see verify_requests.py) and writes what the snippet beside this file answers. */
public final class Drive {
    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] fields = line.split("\t", -1);
            Map<String, String> headers = new HashMap<>();
            for (int i = 2; i < fields.length; i += 2) headers.put(fields[i], text(fields[i + 1]));
            try {
                System.out.println(WebhookSignature.verify(headers::get, decoded(fields[1]), text(fields[0])));
            } catch (Exception error) {
                System.out.println(error);
            }
        }
    }

    private static byte[] decoded(String field) {
        return Base64.getDecoder().decode(field);
    }

    private static String text(String field) {
        return new String(decoded(field), StandardCharsets.UTF_8);
    }
}
