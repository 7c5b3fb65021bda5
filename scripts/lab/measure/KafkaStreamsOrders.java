// Follows orders from step to step with Kafka Streams, keyed state in memory or in RocksDB, and prints the figures as JSON.
//
// java -cp 'JARS/*' KafkaStreamsOrders.java BOOTSTRAP TOPIC RECORDS memory|rocksdb FOLDER. peers.py calls it. The records have
// no key in Kafka. The state is by the key in the record, without the topic that Kafka Streams would write them to once more.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.List;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

public final class KafkaStreamsOrders {
    private static final String STORE = "orders";
    private static final List<String> STEPS = List.of("order_created", "payment_ok", "parcel_out");
    private static final long WITHIN_MS = 60_000;

    private static final CountDownLatch DONE = new CountDownLatch(1);
    private static long records;
    private static long left;
    private static long complete;
    private static long beganAt;
    private static long usedBefore;
    private static long usedAfter;
    private static long endedAt;

    private static final class Follow implements Processor<byte[], byte[], Void, Void> {
        private final ObjectMapper mapper = new ObjectMapper();
        private KeyValueStore<String, byte[]> reached;

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            reached = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            if (left == records) {
                beganAt = System.nanoTime();
                usedBefore = processorNs();
            }
            try {
                take(mapper.readTree(record.value()));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            if (--left == 0) {
                usedAfter = processorNs();
                endedAt = System.nanoTime();
                DONE.countDown();
            }
        }

        private void take(JsonNode order) {
            String key = order.get("id").textValue();
            int step = STEPS.indexOf(order.get("type").textValue());
            long at = Instant.parse(order.get("meta").get("ts").textValue()).toEpochMilli();
            if (step == 0) {
                reached.put(key, ByteBuffer.allocate(9).put((byte) 1).putLong(at).array());
                return;
            }
            byte[] before = reached.get(key);
            if (before == null || before[0] != step) {
                return;
            }
            long first = ByteBuffer.wrap(before, 1, 8).getLong();
            if (step == 1) {
                reached.put(key, ByteBuffer.allocate(9).put((byte) 2).putLong(first).array());
            } else {
                complete += at - first <= WITHIN_MS ? 1 : 0;
                reached.delete(key);
            }
        }
    }

    private static long processorNs() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    public static void main(String[] words) throws Exception {
        records = left = Long.parseLong(words[2]);
        var supplier = words[3].equals("memory") ? Stores.inMemoryKeyValueStore(STORE) : Stores.persistentKeyValueStore(STORE);
        var builder = new StreamsBuilder();
        builder.addStateStore(
            Stores.keyValueStoreBuilder(supplier, Serdes.String(), Serdes.ByteArray()).withLoggingDisabled());
        builder.<byte[], byte[]>stream(words[1]).process(Follow::new, STORE);
        var settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "peer-" + UUID.randomUUID());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, words[0]);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, words[4]);
        settings.put("auto.offset.reset", "earliest");
        try (var streams = new KafkaStreams(builder.build(), settings)) {
            streams.start();
            DONE.await();
        }
        System.out.printf(
            "{\"per_s\": %.0f, \"cpu_us_a_record\": %.2f, \"complete\": %d}%n",
            records / ((endedAt - beganAt) / 1e9), (usedAfter - usedBefore) / 1e3 / records, complete);
    }
}
