using Microsoft.ML.OnnxRuntime;

/// <summary>The labels that apply to a text, and each label's probability.</summary>
public sealed record Classification(string[] Labels, Dictionary<string, float> Scores);

/// <summary>A text classifier in one ONNX file. Calls from several threads are fine.</summary>
public sealed class Classifier : IDisposable
{
    private readonly InferenceSession _session;
    private readonly string[] _names;

    public Classifier(string path)
    {
        // One thread: the model is too small to share out.
        using var options = new SessionOptions { IntraOpNumThreads = 1 };
        _session = new InferenceSession(path, options);
        using var outputs = Run([], "names");
        _names = outputs[0].GetStringTensorAsArray();
    }

    public Classification Classify(byte[] text)
    {
        using var outputs = Run(text, "scores", "labels");
        var values = outputs[0].GetTensorDataAsSpan<float>();
        var scores = new Dictionary<string, float>();
        for (var i = 0; i < _names.Length; i++) scores[_names[i]] = values[i];
        return new Classification(outputs[1].GetStringTensorAsArray(), scores);
    }

    public void Dispose() => _session.Dispose();

    private IDisposableReadOnlyCollection<OrtValue> Run(byte[] text, params string[] outputs)
    {
        using var options = new RunOptions();
        using var input = OrtValue.CreateTensorValueFromMemory(text, [text.Length]);
        return _session.Run(options, ["text"], [input], outputs);
    }
}
