// Classifies the text that is typed.

import 'dart:convert';

import 'package:flutter/material.dart';

import 'classifier.dart';

Future<void> main() async {
  WidgetsFlutterBinding.ensureInitialized();
  final classifier = await Classifier.fromAsset('assets/model.onnx');
  runApp(MaterialApp(home: ClassifyPage(classifier)));
}

class ClassifyPage extends StatefulWidget {
  const ClassifyPage(this.classifier, {super.key});

  final Classifier classifier;

  @override
  State<ClassifyPage> createState() => _ClassifyPageState();
}

class _ClassifyPageState extends State<ClassifyPage> {
  String _answer = '';

  Future<void> _show(String text) async {
    final (:labels, :scores) = await widget.classifier.classify(text);
    final json = {'labels': labels, 'scores': scores};
    if (mounted) setState(() => _answer = const JsonEncoder.withIndent('  ').convert(json));
  }

  @override
  Widget build(BuildContext context) => Scaffold(
    body: SafeArea(
      child: Column(
        children: [
          TextField(onChanged: _show, decoration: const InputDecoration(labelText: 'Text')),
          Expanded(child: SingleChildScrollView(child: Text(_answer))),
        ],
      ),
    ),
  );
}
