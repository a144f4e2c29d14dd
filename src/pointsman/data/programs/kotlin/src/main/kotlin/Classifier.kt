import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.nio.ByteBuffer

/** The labels that apply to a text, and each label's probability. */
data class Classification(val labels: List<String>, val scores: Map<String, Float>)

/** A text classifier in one ONNX file, given as its bytes. Calls from several threads are fine. */
class Classifier(model: ByteArray) : AutoCloseable {
    private val environment = OrtEnvironment.getEnvironment()
    private val session = OrtSession.SessionOptions().use { options ->
        options.setIntraOpNumThreads(1) // the model is too small to share out
        environment.createSession(model, options)
    }
    private val names = run(ByteArray(0), "names") { strings(it, "names") }

    fun classify(text: ByteArray) = run(text, "scores", "labels") { outputs ->
        val scores = outputs["scores"].get().value as FloatArray
        Classification(strings(outputs, "labels"), names.zip(scores.asIterable()).toMap())
    }

    override fun close() = session.close()

    private fun <T> run(text: ByteArray, vararg wanted: String, read: (OrtSession.Result) -> T): T {
        val bytes = ByteBuffer.allocateDirect(text.size).put(text)
        bytes.rewind()
        val shape = longArrayOf(text.size.toLong())
        return OnnxTensor.createTensor(environment, bytes, shape, OnnxJavaType.UINT8).use { input ->
            session.run(mapOf("text" to input), wanted.toSet()).use(read)
        }
    }

    private fun strings(outputs: OrtSession.Result, name: String) =
        (outputs[name].get().value as Array<*>).map { it as String }
}
