import java.io.ByteArrayOutputStream
import java.io.File
import java.io.InputStream
import java.io.PrintStream
import kotlin.system.exitProcess

/** Classify texts: Classify model.onnx "a text" ..., or one text a line on stdin. */
fun main(args: Array<String>) {
    if (args.isEmpty()) {
        System.err.println("usage: Classify MODEL [TEXT ...]")
        exitProcess(2)
    }
    val out = PrintStream(System.out, true, "UTF-8")
    val texts = args.drop(1).map { it.toByteArray() }
    Classifier(File(args[0]).readBytes()).use { classifier ->
        for (text in if (args.size > 1) texts.asSequence() else lines(System.`in`.buffered())) {
            out.println(json(classifier.classify(text)))
        }
    }
}

/** The lines of a stream of bytes, without their line feeds; a last line needs none. */
private fun lines(from: InputStream) = generateSequence {
    val line = ByteArrayOutputStream()
    var next = from.read()
    while (next != -1 && next != '\n'.code) {
        line.write(next)
        next = from.read()
    }
    if (next == -1 && line.size() == 0) null else line.toByteArray()
}

private fun json(answer: Classification): String {
    val labels = answer.labels.joinToString(",") { json(it) }
    val scores = answer.scores.entries.joinToString(",") { "${json(it.key)}:${it.value}" }
    return """{"labels":[$labels],"scores":{$scores}}"""
}

private fun json(text: String) = buildString {
    append('"')
    for (each in text) {
        when {
            each < ' ' -> append("\\u%04x".format(each.code))
            each == '"' || each == '\\' -> append('\\').append(each)
            else -> append(each)
        }
    }
    append('"')
}
