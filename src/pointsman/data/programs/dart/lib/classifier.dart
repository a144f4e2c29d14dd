import 'dart:convert';
import 'dart:typed_data';

import 'package:flutter_onnxruntime/flutter_onnxruntime.dart';

/// The labels that apply to a text, and each label's probability.
typedef Classification = ({List<String> labels, Map<String, double> scores});

/// A text classifier in one ONNX file.
class Classifier {
  Classifier._(this._session, this._names);

  final OrtSession _session;
  final List<String> _names;

  /// Loads a model from the app's assets.
  static Future<Classifier> fromAsset(String name) async {
    // One thread: the model is too small to share out.
    final options = OrtSessionOptions(intraOpNumThreads: 1);
    final session = await OnnxRuntime().createSessionFromAsset(name, options: options);
    final answer = await _run(session, Uint8List(0));
    return Classifier._(session, answer['names']!.cast<String>());
  }

  Future<Classification> classify(String text) => classifyBytes(utf8.encode(text));

  Future<Classification> classifyBytes(Uint8List text) async {
    final answer = await _run(_session, text);
    final values = answer['scores']!.cast<double>();
    return (
      labels: answer['labels']!.cast<String>(),
      scores: Map.fromIterables(_names, values),
    );
  }

  Future<void> close() => _session.close();

  static Future<Map<String, List<dynamic>>> _run(OrtSession session, Uint8List text) async {
    final input = await OrtValue.fromList(text, [text.length]);
    try {
      final outputs = await session.run({'text': input});
      final answer = <String, List<dynamic>>{};
      for (final MapEntry(:key, :value) in outputs.entries) {
        answer[key] = await value.asFlattenedList();
        await value.dispose();
      }
      return answer;
    } finally {
      await input.dispose();
    }
  }
}
