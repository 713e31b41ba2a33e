import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.Converter;
import org.apache.kafka.connect.storage.SimpleHeaderConverter;
import org.apache.kafka.connect.storage.StringConverter;

/** Runs Debezium's PostgreSQL connector, and writes its records as a worker of Kafka Connect would write them. */
public final class Recorder {
    private static final Map<String, Converter> CONVERTERS = Map.of(
            "json", json(false), "json-schemas", json(true), "string", string());
    private static final List<String> SETUP = List.of(
            "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text NOT NULL,"
                    + " type text NOT NULL, tenant text NOT NULL, payload jsonb NOT NULL)",
            "CREATE TABLE orders (id int PRIMARY KEY, total numeric(10,2), placed timestamptz, note text)",
            "ALTER TABLE orders REPLICA IDENTITY FULL",
            "INSERT INTO orders VALUES (1, 10.50, '2026-01-31T08:00:00Z', 'snapshot')");
    private static final List<String> CHANGES = List.of(
            "INSERT INTO outbox VALUES ('7c9e6679-7425-40de-944b-e07fc1f90ae7', 'order', 'o-42', 'order.created',"
                    + " 'acme', '{\"total\": 99.5, \"lines\": [{\"sku\": \"ä\"}]}')",
            "INSERT INTO outbox VALUES ('16fd2706-8baf-433b-82eb-8c7fada847da', 'order', 'o-42', 'order.paid',"
                    + " 'acme', '{\"total\": 99.5}')",
            "INSERT INTO outbox VALUES ('886313e1-3b8a-5372-9b90-0c9aee199e5d', 'user', 'u-1', 'user.created',"
                    + " 'globex', '[]')",
            "DELETE FROM outbox",
            "INSERT INTO orders VALUES (2, 20.25, '2026-01-31T09:00:00Z', 'new')",
            "UPDATE orders SET total = 30.00 WHERE id = 2",
            "DELETE FROM orders WHERE id = 2",
            "TRUNCATE orders");

    public static void main(String[] arguments) throws Exception {
        String port = arguments[0];
        Path folder = Path.of(arguments[1]);
        execute(port, SETUP);
        record(port, folder, "outbox", 3, Map.of(
                "table.include.list", "public.outbox",
                "transforms", "outbox",
                "transforms.outbox.type", "io.debezium.transforms.outbox.EventRouter",
                "transforms.outbox.table.fields.additional.placement", "type:header:type,tenant:header:tenant"));
        record(port, folder, "cdc", 6, Map.of(
                "table.include.list", "public.orders", "snapshot.mode", "initial", "skipped.operations", "none"));
    }

    /** Runs the connector until it has written `expected` records. */
    private static void record(String port, Path folder, String name, int expected, Map<String, String> more)
            throws Exception {
        Properties options = new Properties();
        options.setProperty("name", name);
        options.setProperty("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
        options.setProperty("offset.storage", "org.apache.kafka.connect.storage.MemoryOffsetBackingStore");
        options.setProperty("offset.flush.interval.ms", "1000");
        options.setProperty("database.hostname", "127.0.0.1");
        options.setProperty("database.port", port);
        options.setProperty("database.user", "postgres");
        options.setProperty("database.password", "");
        options.setProperty("database.dbname", "postgres");
        options.setProperty("plugin.name", "pgoutput");
        options.setProperty("slot.name", name);
        options.setProperty("publication.name", name);
        options.setProperty("publication.autocreate.mode", "filtered");
        options.setProperty("topic.prefix", "shop");
        more.forEach(options::setProperty);
        List<SourceRecord> records = new CopyOnWriteArrayList<>();
        DebeziumEngine<RecordChangeEvent<SourceRecord>> engine = DebeziumEngine.create(ChangeEventFormat.of(Connect.class))
                .using(options)
                .notifying(event -> records.add(event.record()))
                .build();
        ExecutorService executor = Executors.newSingleThreadExecutor();
        executor.execute(engine);
        waitForSlot(port, name);
        TimeUnit.SECONDS.sleep(5); // until it streams: a snapshot ends first
        execute(port, CHANGES.stream().filter(each -> each.contains(name.equals("cdc") ? "orders" : "outbox")).toList());
        for (int turn = 0; turn < 60 && records.size() < expected; turn++) {
            TimeUnit.SECONDS.sleep(1);
        }
        TimeUnit.SECONDS.sleep(2); // what may follow
        engine.close();
        executor.shutdownNow();
        System.err.println(name + ": " + records.size() + " records");
        for (Map.Entry<String, Converter> converter : CONVERTERS.entrySet()) {
            write(folder.resolve(name + "-" + converter.getKey() + ".jsonl"), records, converter.getValue());
        }
    }

    private static void write(Path file, List<SourceRecord> records, Converter converter) throws Exception {
        boolean isString = converter instanceof StringConverter;
        List<String> lines = new ArrayList<>();
        for (SourceRecord record : records) {
            if (isString && !(record.value() instanceof String)) {
                continue; // StringConverter writes only texts
            }
            Converter keys = isString ? string() : keyed(converter);
            byte[] key = keys.fromConnectData(record.topic(), record.keySchema(), record.key());
            byte[] value = converter.fromConnectData(record.topic(), record.valueSchema(), record.value());
            StringBuilder headers = new StringBuilder();
            try (SimpleHeaderConverter simple = new SimpleHeaderConverter()) {
                for (Header header : record.headers()) {
                    byte[] text = simple.fromConnectHeader(record.topic(), header.key(), header.schema(), header.value());
                    headers.append(headers.length() == 0 ? "" : ",")
                            .append("[\"").append(header.key()).append("\",").append(base64(text)).append(']');
                }
            }
            lines.add("{\"topic\":\"" + record.topic() + "\",\"timestamp\":" + record.timestamp()
                    + ",\"key\":" + base64(key) + ",\"value\":" + base64(value) + ",\"headers\":[" + headers + "]}");
        }
        if (!lines.isEmpty()) {
            Files.write(file, lines, StandardCharsets.UTF_8);
        }
    }

    private static String base64(byte[] bytes) {
        return bytes == null ? "null" : '"' + Base64.getEncoder().encodeToString(bytes) + '"';
    }

    private static Converter json(boolean schemas) {
        JsonConverter converter = new JsonConverter();
        converter.configure(Map.of("schemas.enable", String.valueOf(schemas)), false);
        return converter;
    }

    private static Converter keyed(Converter of) {
        JsonConverter converter = new JsonConverter();
        converter.configure(Map.of("schemas.enable", String.valueOf(of == CONVERTERS.get("json-schemas"))), true);
        return converter;
    }

    private static Converter string() {
        StringConverter converter = new StringConverter();
        converter.configure(Map.of(), false);
        return converter;
    }

    private static void execute(String port, List<String> statements) throws Exception {
        try (Connection connection = connect(port); Statement statement = connection.createStatement()) {
            for (String each : statements) {
                statement.execute(each);
            }
        }
    }

    private static void waitForSlot(String port, String slot) throws Exception {
        try (Connection connection = connect(port); Statement statement = connection.createStatement()) {
            for (int turn = 0; turn < 60; turn++) {
                var found = statement.executeQuery("SELECT 1 FROM pg_replication_slots WHERE active AND slot_name = '" + slot + "'");
                if (found.next()) {
                    return;
                }
                TimeUnit.SECONDS.sleep(1);
            }
        }
        throw new IllegalStateException("the connector does not stream");
    }

    private static Connection connect(String port) throws Exception {
        return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/postgres", "postgres", "");
    }
}
