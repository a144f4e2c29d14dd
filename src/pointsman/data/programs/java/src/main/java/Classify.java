import ai.onnxruntime.OrtException;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.stream.Collectors;

/** Classify texts: Classify model.onnx "a text" ..., or one text a line on stdin. */
public final class Classify {
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Classify() {}

    public static void main(String[] args) throws OrtException, IOException {
        if (args.length < 1) {
            System.err.println("usage: Classify MODEL [TEXT ...]");
            System.exit(2);
        }
        try (var classifier = new Classifier(args[0])) {
            for (int i = 1; i < args.length; i++) {
                show(classifier.classify(args[i].getBytes(StandardCharsets.UTF_8)));
            }
            if (args.length == 1) {
                var input = new BufferedInputStream(System.in);
                for (byte[] line; (line = readLine(input)) != null; ) {
                    show(classifier.classify(line));
                }
            }
        }
    }

    /** Reads up to a line feed, which is left out; null when there is nothing more to read. */
    private static byte[] readLine(InputStream from) throws IOException {
        var line = new ByteArrayOutputStream();
        int next;
        while ((next = from.read()) != -1 && next != '\n') {
            line.write(next);
        }
        return next == -1 && line.size() == 0 ? null : line.toByteArray();
    }

    private static void show(Classifier.Classification answer) {
        var labels = answer.labels().stream().map(Classify::json).collect(Collectors.joining(","));
        var scores = answer.scores().entrySet().stream()
                .map(each -> json(each.getKey()) + ":" + each.getValue())
                .collect(Collectors.joining(","));
        OUT.println("{\"labels\":[" + labels + "],\"scores\":{" + scores + "}}");
    }

    private static String json(String text) {
        var out = new StringBuilder("\"");
        for (char each : text.toCharArray()) {
            if (each < 0x20) {
                out.append(String.format("\\u%04x", (int) each));
            } else {
                out.append(each == '"' || each == '\\' ? "\\" : "").append(each);
            }
        }
        return out.append('"').toString();
    }
}
