import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A text classifier in one ONNX file. Calls from several threads are fine. */
public final class Classifier implements AutoCloseable {
    /** The labels that apply to a text, and each label's probability. */
    public record Classification(List<String> labels, Map<String, Float> scores) {}

    private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    private final OrtSession session;
    private final String[] names;

    public Classifier(String path) throws OrtException {
        try (var options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(1); // the model is too small to share out
            session = environment.createSession(path, options);
        }
        try (var input = tensor(new byte[0]);
                var outputs = session.run(Map.of("text", input), Set.of("names"))) {
            names = (String[]) outputs.get("names").orElseThrow().getValue();
        }
    }

    /** Classifies the bytes of a text. */
    public Classification classify(byte[] text) throws OrtException {
        try (var input = tensor(text);
                var outputs = session.run(Map.of("text", input), Set.of("scores", "labels"))) {
            var labels = (String[]) outputs.get("labels").orElseThrow().getValue();
            var values = (float[]) outputs.get("scores").orElseThrow().getValue();
            var scores = new LinkedHashMap<String, Float>();
            for (int i = 0; i < names.length; i++) {
                scores.put(names[i], values[i]);
            }
            return new Classification(List.of(labels), scores);
        }
    }

    private OnnxTensor tensor(byte[] text) throws OrtException {
        var bytes = ByteBuffer.allocateDirect(text.length).put(text).rewind();
        return OnnxTensor.createTensor(
                environment, bytes, new long[] {text.length}, OnnxJavaType.UINT8);
    }

    @Override
    public void close() throws OrtException {
        session.close();
    }
}
