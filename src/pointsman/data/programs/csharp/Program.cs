// Classify texts: classify model.onnx "a text" ..., or one text a line on stdin.

using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

if (args.Length == 0)
{
    Console.Error.WriteLine("usage: classify MODEL [TEXT ...]");
    return 2;
}

var json = new JsonSerializerOptions
{
    PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
    Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
};
using var output = Console.OpenStandardOutput();
using var classifier = new Classifier(args[0]);
var texts = args.Length > 1
    ? args.Skip(1).Select(Encoding.UTF8.GetBytes)
    : Lines(new BufferedStream(Console.OpenStandardInput()));
foreach (var text in texts)
{
    output.Write(JsonSerializer.SerializeToUtf8Bytes(classifier.Classify(text), json));
    output.WriteByte((byte)'\n');
    output.Flush();
}
return 0;

// The lines of a stream of bytes, without their line feeds; a last line needs none.
static IEnumerable<byte[]> Lines(Stream from)
{
    var line = new MemoryStream();
    int next;
    do
    {
        line.SetLength(0);
        while ((next = from.ReadByte()) != -1 && next != '\n') line.WriteByte((byte)next);
        if (next != -1 || line.Length > 0) yield return line.ToArray();
    } while (next != -1);
}
